"""uvicorn, with guarded connections and a graceful stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections at once; more are answered with 503.
CONNECTIONS = 128
HEADER_BYTES = 16 * 2**10


def guarded(seconds: float) -> type[H11Protocol]:
    """A protocol that ends a connection whose client has made no progress for some seconds.

    The clock starts with the connection and after each answer: it ends clients that never finish
    their headers or do not take their answer. What happens in between the service bounds itself.
    """

    class Guarded(H11Protocol):
        _guard: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, error: Exception | None) -> None:
            self._guard.cancel()
            super().connection_lost(error)

        def _watch(self) -> None:
            if self._guard is not None:
                self._guard.cancel()
            self._guard = self.loop.call_later(seconds, self.transport.abort)

    return Guarded


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: the address to listen at.
        port: 0 takes a free one.

    Raises:
        OSError: if it cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error


def server(app: FastAPI, idle: float) -> uvicorn.Server:
    """A server of an application, to be run with sockets of `listen`.

    Args:
        app: the application.
        idle: seconds after which a connection without progress is ended.
    """
    config = uvicorn.Config(
        app,
        http=guarded(idle),
        ws="none",
        log_level="error",  # warnings are of broken requests
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=int(idle) + 1,
    )
    return uvicorn.Server(config)


def serve(app: FastAPI, listening: socket.socket, idle: float) -> None:
    """Answer until SIGINT or SIGTERM; then finish what has begun, and return."""
    # uvicorn raises the signal that stopped it once more at its end.
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    try:
        server(app, idle).run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
