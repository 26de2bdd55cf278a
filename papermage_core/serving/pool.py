"""Requests of many clients → batches for a few processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque

import attrs

from papermage_core.errors import PapermageError, counted
from papermage_core.serving.messages import Answer, Request, RequestError
from papermage_core.serving.metrics import Metrics
from papermage_core.serving.process import DiedError, Process, together
from papermage_core.serving.settings import Settings

__all__ = ["Pool"]

_log = logging.getLogger(__name__)
_BATCH_BYTES = 4_000_000
_GRACE = 10.0
"""Seconds after which a process is ended that should have given up by itself."""
_PAUSE = 5.0
"""Seconds before a process that cannot start is tried again."""


@attrs.define(eq=False)
class _Item:
    request: Request
    future: asyncio.Future[Answer]
    deadline: float
    alone: bool = False
    """Whether it goes without others: a process has ended with it."""


@attrs.define(eq=False)
class _Slot:
    """The place of a process, and of its successors."""

    process: Process | None = None
    busy: int = 0
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)


class Pool:
    """Processes of one kind, with the requests that wait for them.

    Each process has a batch to work on and, with ``ahead``, the next one at hand; meanwhile requests gather. A process
    that ends is replaced, and each request that it had is tried once more, alone: the one that it ended at fails.
    ``seconds`` is the time of a request, its waiting with it; with ``at_once`` a process that works longer on one is
    ended, else it is trusted to give up by itself.
    """

    def __init__(
        self,
        role: str,
        settings: Settings,
        metrics: Metrics,
        *,
        processes: int,
        batch: int,
        wait: float,
        queue: int,
        seconds: float,
        ahead: bool,
        at_once: float | None = None,
        retry: bool = True,
    ) -> None:
        self.role = role
        self._settings, self._metrics = settings, metrics
        self._batch, self._wait, self._queue, self._seconds = batch, wait, queue, seconds
        self._at_once, self._retry = at_once, retry
        self._slots = [_Slot() for _ in range(processes)]
        self._turns = 2 if ahead else 1
        self._waiting: deque[_Item] = deque()
        self._came = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pace = 0.1
        """Seconds of a batch, averaged over the last ones."""
        self._stopped = False

    async def start(self) -> None:
        """Start the processes. Raises PapermageError for one that cannot work."""
        try:
            await together(*map(self._fill, self._slots))
        except BaseException:
            await self.stop()
            raise
        self._tasks = [asyncio.create_task(self._work(slot)) for slot in self._slots for _ in range(self._turns)]

    async def _fill(self, slot: _Slot) -> None:
        slot.process = await Process.start(self.role, self._settings)

    async def stop(self) -> None:
        """End the processes; what waits is not answered."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.process.stop() for slot in self._slots if slot.process is not None))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model finds."""
        return next((slot.process.labels for slot in self._slots if slot.process is not None), ())

    @property
    def is_ready(self) -> bool:
        """Whether a process can be asked, and a request may wait for it."""
        alive = any(slot.process is not None and slot.process.is_alive for slot in self._slots)
        return alive and not self.is_full

    @property
    def is_full(self) -> bool:
        """Whether no more requests may wait."""
        return len(self._waiting) >= self._queue

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def process_ids(self) -> list[int]:
        """The system's numbers of the processes that live."""
        return [slot.process.id for slot in self._slots if slot.process is not None and slot.process.is_alive]

    def full(self) -> RequestError:
        """Return what a client is told whose request may not wait."""
        batches = len(self._waiting) / self._batch / len(self._slots)
        seconds = min(60, max(1, math.ceil(batches * self._pace)))
        return RequestError(503, "too many requests are waiting", do="try again later", retry_after=seconds)

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a request. Raises RequestError for a full queue and for time that is up."""
        if self.is_full or self._stopped:
            raise self.full()
        loop = asyncio.get_running_loop()
        item = _Item(request, loop.create_future(), loop.time() + self._seconds)
        self._waiting.append(item)
        self._came.set()
        try:
            return await asyncio.wait_for(item.future, self._seconds + _GRACE)
        except asyncio.TimeoutError:
            raise _late() from None
        finally:
            item.future.cancel()  # nobody waits for it any more

    async def _work(self, slot: _Slot) -> None:
        while True:
            items = await self._next(slot)
            slot.busy += 1
            try:
                await self._run(slot, items)
            except asyncio.CancelledError:
                raise
            except Exception:  # else this slot would take no more work, and its clients would wait in vain
                _log.exception("a batch failed")
                _give_up(items, RequestError(500, "the server failed at this request"))
            finally:
                slot.busy -= 1

    async def _next(self, slot: _Slot) -> list[_Item]:
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            if self._wait:
                await self._gather(slot)
            if items := self._taken():
                return items

    async def _gather(self, slot: _Slot) -> None:
        """Wait for company: a little where the process is idle; where it works, as long as more comes.

        The clients of a batch come back one after the other: else the first of them would go ahead alone.
        """
        before = -1
        while before < len(self._waiting) < self._batch:
            before = len(self._waiting) if slot.busy else self._batch
            await asyncio.sleep(self._wait)

    def _taken(self) -> list[_Item]:
        """Take requests that belong together off the queue, and such that nobody waits for any more."""
        items: list[_Item] = []
        size, now = 0, asyncio.get_running_loop().time()
        while self._waiting and len(items) < self._batch:
            item = self._waiting[0]
            if not item.future.done() and item.deadline < now:
                item.future.set_exception(_late())
            if item.future.done():
                self._waiting.popleft()
                continue
            size += len(item.request.body)
            if items and (item.alone or size > _BATCH_BYTES):
                break
            items.append(self._waiting.popleft())
            if item.alone:
                break
        return items

    async def _run(self, slot: _Slot, items: list[_Item]) -> None:
        process = await self._process(slot)
        if process is None:
            return _give_up(
                items, RequestError(503, f"the {self.role} cannot be started", do="try again later", retry_after=10)
            )
        now = asyncio.get_running_loop().time()
        for item in items:
            item.request.seconds = max(0.0, item.deadline - now)
        start = time.monotonic()
        latest = max(item.request.seconds for item in items) + _GRACE if self._at_once is None else self._at_once
        try:
            answers = await asyncio.wait_for(process.ask([item.request for item in items]), latest)
        except asyncio.TimeoutError:
            process.kill()
            _log.warning("a process of the %s was ended: it took more than %.0f s", self.role, latest)
            self._metrics.count("papermage_process_ends_total", role=self.role)
            what = f"reading this took more than {latest:g} s"
            return _give_up(
                items, _late() if self._retry else RequestError(422, what, "file", "send some of its pages")
            )
        except DiedError:
            return self._again(items)
        seconds = time.monotonic() - start
        self._pace += 0.2 * (seconds - self._pace)
        self._metrics.batch(self.role, seconds, answers)
        for item, answer in zip(items, answers, strict=True):
            if not item.future.done():
                item.future.set_result(answer)
        return None

    def _again(self, items: list[_Item]) -> None:
        """Put requests back that a process ended with, each to go alone; give up one that was alone."""
        _log.warning("a process of the %s ended with %s", self.role, counted(len(items), "requests"))
        self._metrics.count("papermage_process_ends_total", role=self.role)
        for item in reversed(items):
            if item.future.done():
                continue
            if item.alone or not self._retry:
                do = "send it in parts, and tell whoever runs the server"
                item.future.set_exception(RequestError(422, "the process that read this ended", do=do))
            else:
                item.alone = True
                self._waiting.appendleft(item)
                self._came.set()

    async def _process(self, slot: _Slot) -> Process | None:
        """Return the process of a slot, a new one if it has ended; None if that cannot be started."""
        async with slot.lock:
            if slot.process is None or not slot.process.is_alive:
                if slot.process is not None:
                    await slot.process.stop()
                try:
                    slot.process = await Process.start(self.role, self._settings)
                except (PapermageError, OSError) as exc:
                    _log.error("a process of the %s cannot be started: %s", self.role, exc)
                    slot.process = None
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.sleep(_PAUSE)
            return slot.process


def _late() -> RequestError:
    return RequestError(503, "time is up", do="send less at once, or try again later", retry_after=5)


def _give_up(items: list[_Item], problem: RequestError) -> None:
    for item in items:
        if not item.future.done():
            item.future.set_exception(problem)
