"""A service for tests: a server in a thread, and requests without a library between."""

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from segedu.serve.limits import Limits
from segedu.serve.server import listen, server
from segedu.serve.service import Service, application


@contextlib.contextmanager
def running(network, limits=None, idle=30.0, sample=None):
    """A service of a network; yields its port and the service."""
    service = Service(network, limits or Limits(), sample)
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


def kept_by(service, result="kept"):
    """How many pictures of the sample ended so."""
    return service.registry.get_sample_value("segedu_sampled_total", {"result": result}) or 0


def answered(port, request):
    """The status of the answer to bytes, or 0 if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before the end
            client.sendall(request)
        try:
            start = client.recv(64)
        except ConnectionResetError:
            return 0
    return int(start.split()[1]) if start else 0


def result(coroutine):
    """What it returns, in a thread of its own: a browser of other tests has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def until(true, seconds=20.0):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
