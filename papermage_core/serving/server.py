"""A server at an address, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator
from errno import EADDRINUSE
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from papermage_core.errors import ConfigError
from papermage_core.serving.app import create_app
from papermage_core.serving.service import Service
from papermage_core.serving.settings import Settings

__all__ = ["serve"]

_log = logging.getLogger(__name__)
_MOST_CONNECTIONS = 1000
_HEAD_SECONDS = 15.0
"""Time for the head of a request, from the connection or from the answer before it."""
_READ_SECONDS = 30.0
"""Time in which a client must read more of an answer."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then take no more, and finish what is in hand.

    Raises ConfigError for an address that cannot be listened at, and what keeps the model from being loaded.
    """
    options = settings.options
    listening = _listening(options.host, options.port)
    with contextlib.closing(listening):
        asyncio.run(_serve(settings, listening))


async def _serve(settings: Settings, listening: socket.socket) -> None:
    """Answer from now on: that the model is being loaded, and once it is, requests."""
    options = settings.options
    service = Service(settings)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what is no request is no news
    config = uvicorn.Config(
        create_app(settings, service),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=max(1, round(options.stop_timeout)),
    )
    server = _Server(config)
    starting, serving = asyncio.create_task(service.start()), asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.wait((starting, serving), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _say_where(*listening.getsockname()[:2])
            gc.collect()
            gc.freeze()  # what is there now stays, and need not be looked through
        await serving
    finally:
        starting.cancel()
        server.should_exit = True
        await asyncio.gather(starting, serving, return_exceptions=True)
        await service.stop()
    _log.info("stopped")


def _say_where(host: str, port: int) -> None:
    _log.info("listening at http://%s:%d", f"[{host}]" if ":" in host else host, port)
    if not ipaddress.ip_address(host).is_loopback:
        _log.warning("whoever reaches this machine can use the server: there is no password")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise ConfigError(f"host={host}: this is no address of this machine: {exc.strerror or exc}") from exc
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as exc:
        listening.close()
        do = "; another program does: choose another port, or port=0 for a free one" if exc.errno == EADDRINUSE else ""
        raise ConfigError(f"host={host} port={port}: cannot listen there: {exc.strerror or exc}{do}") from exc
    return listening


class _Server(uvicorn.Server):
    """Ends by itself when it is told to stop: the process goes on, and decides its exit code."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at signals, and leave their handlers as they were."""
        former = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Closes connections on which no request comes, and those of clients that do not read their answer."""

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._expect_head()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_longer()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = self.loop.call_later(_READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no longer."""
        if self._unread is not None:
            self._unread.cancel()
        super().resume_writing()

    def _expect_head(self) -> None:
        self._wait_no_longer()
        self._head = self.loop.call_later(_HEAD_SECONDS, self._close_unless_asked)

    def _wait_no_longer(self) -> None:
        if self._head is not None:
            self._head.cancel()

    def _close_unless_asked(self) -> None:
        cycle = getattr(self, "cycle", None)
        if (cycle is None or cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
