"""The processes of a server, and what its limits let through to them."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from papermage_core.data.garbage import release_free_memory
from papermage_core.serving.messages import Answer, Request, RequestError, problem_of
from papermage_core.serving.metrics import Metrics, resident
from papermage_core.serving.pool import Pool
from papermage_core.serving.process import together
from papermage_core.serving.settings import Settings

__all__ = ["GoneError", "Service"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_MOST_IN_HAND = 12
"""How many of the largest bodies may be held at once."""
_DRAINED = 4
"""How many times the allowed size is read of a body that is too large: who writes on may not hear the answer."""
_BETWEEN_COLLECTIONS, _OF_A_REQUEST = 32_000_000, 100_000
"""Bytes of requests, and what each counts as beside its body."""


class GoneError(Exception):
    """The client has hung up."""


class Service:
    """Answers requests: reads bodies, has files read, and asks the model."""

    def __init__(self, settings: Settings) -> None:
        self.options = options = settings.options
        self.metrics = Metrics()
        self.model = Pool(
            "model",
            settings,
            self.metrics,
            processes=options.processes,
            batch=options.batch_documents,
            wait=options.batch_wait,
            queue=options.queue_size,
            seconds=options.timeout,
            ahead=True,
        )
        self.uploads = Pool(
            "upload",
            settings,
            self.metrics,
            processes=options.pdf_processes,
            batch=1,
            wait=0,
            queue=options.queue_size,
            seconds=options.timeout,
            ahead=False,
            at_once=options.pdf_timeout,
            retry=False,
        )
        self.is_started = False
        self.in_hand = self.bytes_in_hand = self._uncollected = 0

    async def start(self) -> None:
        """Start the processes. Raises PapermageError for one that cannot work."""
        try:
            await together(self.model.start(), self.uploads.start())
        except BaseException:
            await self.stop()
            raise
        self.is_started = True

    async def stop(self) -> None:
        """End the processes."""
        self.is_started = False
        await asyncio.gather(self.model.stop(), self.uploads.stop())

    @property
    def is_ready(self) -> bool:
        """Whether a request would be answered now."""
        return self.is_started and self.model.is_ready

    def why_not(self) -> RequestError:
        """Return why a request would not be answered now."""
        if not self.is_started:
            return RequestError(503, "the model is being loaded", do="try again later", retry_after=5)
        if self.model.is_full:
            return self.model.full()
        return RequestError(503, "the process of the model is being started again", do="try again later", retry_after=5)

    async def answer(self, request: Request, receive: Receive) -> Answer:
        """Return the answer to a request without its body, which is received. Raises RequestError, and GoneError."""
        if not self.is_started or self.model.is_full:
            raise self.why_not()
        held = _Held(self)
        self.in_hand += 1
        try:
            try:
                request.body = await asyncio.wait_for(held.read(receive), self.options.body_timeout)
            except asyncio.TimeoutError:
                what = f"the body has not come within {self.options.body_timeout:g} s"
                raise RequestError(408, what, "body", "send it faster, or send less") from None
            return await _unless_gone(self._answer(request), receive)
        finally:
            self.in_hand -= 1
            self.bytes_in_hand -= held.size
            self._collect(len(request.body))

    async def _answer(self, request: Request) -> Answer:
        if request.kind in ("pdf", "form"):
            read = await self.uploads.answer(request)
            if (problem := problem_of(read)) is not None:
                raise problem
            request.kind, request.body = read.kind, read.body
        return await self.model.answer(request)

    def _collect(self, size: int) -> None:
        """Collect garbage now and then: an exception holds what was in hand when it was raised, until it is found."""
        self._uncollected += size + _OF_A_REQUEST
        if self._uncollected > _BETWEEN_COLLECTIONS:
            self._uncollected = 0
            gc.collect()
            release_free_memory()

    def metrics_text(self) -> str:
        """Return what is counted."""
        ids = [os.getpid(), *self.model.process_ids, *self.uploads.process_ids]
        return self.metrics.text(
            {
                "papermage_queue_requests": {
                    (("role", pool.role),): float(pool.waiting) for pool in (self.model, self.uploads)
                },
                "papermage_requests_in_hand": {(): float(self.in_hand)},
                "papermage_bytes_in_hand": {(): float(self.bytes_in_hand)},
                "papermage_memory_bytes": {(): resident(ids)},
            }
        )


class _Held:
    """The body of a request, as far as it has come."""

    def __init__(self, service: Service) -> None:
        self._service, self._most = service, service.options.max_bytes
        self.size = 0

    async def read(self, receive: Receive) -> bytes:
        """Return the body. Raises RequestError for one that is too large, or for too many at once; and GoneError."""
        chunks: list[bytes] = []
        more = True
        while more:
            chunk, more = await _next(receive)
            self.size += len(chunk)
            self._service.bytes_in_hand += len(chunk)
            if self.size > self._most:
                chunks.clear()
                await self.refuse(receive, more)
            if self._service.bytes_in_hand > _MOST_IN_HAND * self._most:
                raise RequestError(503, "too much is being sent at once", do="try again later", retry_after=2)
            chunks.append(chunk)
        return b"".join(chunks)

    async def refuse(self, receive: Receive, more: bool) -> None:
        """Raise RequestError for a body that is too large, once the client is done with it or has sent far too much."""
        self._service.bytes_in_hand -= self.size
        sent, self.size = self.size, 0
        stop = time.monotonic() + 5
        while more and sent < _DRAINED * self._most and time.monotonic() < stop:
            chunk, more = await _next(receive)
            sent += len(chunk)
        most = f"{self._most / 1e6:g} MB"
        raise RequestError(413, f"the body has more than {most}", "body", f"send at most {most}")


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise GoneError
    return message.get("body", b""), message.get("more_body", False)


async def _unless_gone(answer: Awaitable[Answer], receive: Receive) -> Answer:
    """Return an answer; raise GoneError, and wait for it no longer, where the client hangs up before."""
    answering, hanging_up = asyncio.ensure_future(answer), asyncio.ensure_future(_until_gone(receive))
    answering.add_done_callback(lambda task: task.cancelled() or task.exception())  # which nobody may ask for
    try:
        await asyncio.wait((answering, hanging_up), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise GoneError
        return answering.result()
    finally:
        for task in (answering, hanging_up):
            task.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
