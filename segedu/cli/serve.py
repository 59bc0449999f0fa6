"""Answer pictures over HTTP with what an exported network finds in them."""

import argparse

from segedu.cli.options import Parser
from segedu.files import user_path
from segedu.serve.limits import Limits

EXAMPLES = (
    "serve unet.onnx",
    "serve unet.onnx --host 0.0.0.0 --port 80 --threads 4",
)


def add_options(parser: Parser) -> None:
    """The file, where to listen, and limits."""
    parser.usage = "%(prog)s MODEL.onnx [options]"
    parser.add_argument("model", help="a file of `python -m segedu export`")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument(
        "--threads", type=int, default=0, help="of the network (default: one per core)"
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=Limits.queue,
        help=f"requests in work at most (default: {Limits.queue})",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=Limits.batch,
        help=f"pictures at once (default: {Limits.batch})",
    )
    parser.add_rare(
        "--max-pixels", type=int, default=Limits.pixels, metavar="N", help="of a picture"
    )
    parser.add_rare(
        "--max-bytes", type=int, default=Limits.body, metavar="N", help="of a picture's file"
    )


def run(options: argparse.Namespace) -> None:
    """Serve until a signal to stop."""
    from segedu.engine.deployed import Deployed

    try:
        from segedu.serve.server import listen, serve
        from segedu.serve.service import Service, application
    except ModuleNotFoundError as error:
        raise ImportError(
            f"serving needs the package {error.name}: pip install 'segedu[serve]'"
        ) from error
    if not 0 <= options.port < 65536:
        raise ValueError(f"--port must be in 0..65535, got {options.port}")
    if options.threads < 0:
        raise ValueError(f"--threads must be 0 or more, got {options.threads}")
    limits = Limits(
        queue=options.queue,
        batch=options.batch,
        body=options.max_bytes,
        pixels=options.max_pixels,
    )
    service = Service(Deployed(user_path(options.model), options.threads), limits)
    listening = listen(options.host, options.port)
    host, port = listening.getsockname()[:2]
    print(
        f"{options.model} answers at http://{f'[{host}]' if ':' in host else host}:{port}/ "
        "(Ctrl-C stops)",
        flush=True,
    )
    serve(application(service), listening, limits.upload + limits.answer)
