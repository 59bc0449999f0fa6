"""A network in an ONNX file as a service over HTTP: ``python -m segedu serve MODEL.onnx``.

`pictures` reads what a stranger sends, `batches` runs together what waits, `service` answers within
`limits`, `sample` shows some pictures to a watcher, `page` is what a browser shows, `server` guards
the connections.
"""
