"""A service for tests: a server in a thread, and requests without a library between."""

import contextlib
import http.client
import threading
import time

from segedu.serve.server import listen, server
from segedu.serve.service import Limits, Service, application


@contextlib.contextmanager
def running(network, limits=None, idle=30.0):
    """A service of a network; yields its port and the service."""
    service = Service(network, limits or Limits())
    listening = listen("127.0.0.1", 0)
    running = server(application(service), idle)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1], service
    finally:
        running.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def ask(port, method, path, body=None, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def predict(port, body, kind="image/png", answer="mask"):
    return ask(port, "POST", f"/predict?answer={answer}", body, Content_Type=kind)


def until(true, seconds=20.0):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
