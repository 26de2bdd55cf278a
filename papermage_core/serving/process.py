"""A process that works for this one, as the event loop sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Coroutine
from typing import Any

from papermage_core import errors
from papermage_core.errors import PapermageError
from papermage_core.serving.messages import Answer, Ready, Request, pack, size_of, unpack
from papermage_core.serving.settings import Settings

__all__ = ["DiedError", "Process", "together"]

_START = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from papermage_core.serving.child import serve
serve(sys.argv[2])"""


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run parts at once; if one fails, or this is cancelled, only go on once the others, cancelled too, have ended."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()  # once: a second time would end what they do to end
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()


class DiedError(Exception):
    """The process ended before it answered."""


class Process:
    """Is asked for answers to batches, and gives them in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: deque[asyncio.Future[list[Answer]]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self.labels: tuple[str, ...] = ()

    @classmethod
    async def start(cls, role: str, settings: Settings) -> Process:
        """Return a process that is ready. Raises PapermageError, with the exit code, for one that cannot work."""
        process = cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _START, json.dumps(sys.path), role),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # what is typed to stop the server is not for this process
            )
        )
        content = pickle.dumps(settings)
        try:
            await process._write(len(content).to_bytes(size_of(None), "big") + content)
            ready = unpack(await process._read(), Ready)
        except (OSError, EOFError):
            await process.stop()
            raise PapermageError(f"the process of the {role} ended before it was ready") from None
        except BaseException:
            await process.stop()
            raise
        if ready.error:
            await process.stop()
            raise getattr(errors, ready.kind)(ready.error)  # with its class come exit code and place in the docs
        process.labels = ready.labels
        process._reading = asyncio.create_task(process._read_answers())
        return process

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.returncode is None and self._reading is not None and not self._reading.done()

    @property
    def id(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    async def ask(self, requests: list[Request]) -> list[Answer]:
        """Return the answers to a batch. Raises DiedError."""
        if not self.is_alive:
            raise DiedError
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        with contextlib.suppress(OSError):  # the future tells it
            await self._write(pack(requests))
        return await future

    def kill(self) -> None:
        """End the process now; who waits for an answer gets DiedError."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.id, signal.SIGKILL)  # asyncio's own looks whether it has ended, and misses that later

    async def stop(self) -> None:
        """End the process, and wait until it has ended."""
        self.kill()
        if self._reading is not None:
            await self._reading
        await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()  # else its transport outlives the loop, and complains of that on Python 3.13
        with contextlib.suppress(OSError):
            await self._process.stdin.wait_closed()

    async def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def _read(self) -> bytes:
        assert self._process.stdout is not None
        head = await self._process.stdout.readexactly(size_of(None))
        return await self._process.stdout.readexactly(size_of(head))

    async def _read_answers(self) -> None:
        try:
            while True:
                answers = unpack(await self._read(), list[Answer])
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(answers)
        except (OSError, EOFError):
            pass
        finally:
            self.kill()
            for future in self._waiting:
                if not future.done():
                    future.set_exception(DiedError())
            self._waiting.clear()
