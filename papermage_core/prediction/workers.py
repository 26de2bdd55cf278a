"""Processes that work on blocks beside this one, which hands them out and takes what comes of them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, Protocol

import attrs

from papermage_core.data.blocks import Block
from papermage_core.data.parallel import sendable
from papermage_core.errors import BrokenRunError, ConfigError
from papermage_core.model.forks import threads_are_set
from papermage_core.plugin.blame import blaming
from papermage_core.prediction.annotators import Seen
from papermage_core.prediction.work import BlockWorker, Done

__all__ = ["ForkedWorkers", "Outcome", "Tries", "Workers"]

_AT_ONCE = 2
"""Blocks that a process is given at once, so that it never waits for the next."""
_TRIES = 6
"""How many processes may end over a block, some by chance, before it is taken to be the block."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@attrs.frozen
class Outcome:
    """What came of a block: where its bytes are, or why there are none."""

    index: int
    done: Done | None = None
    error: Exception | None = None
    content: bytes = b""
    path: Path | None = None
    """A file that holds the bytes in place of `content`."""

    def write(self, target: IO[bytes]) -> None:
        """Append the bytes to a file."""
        if self.path is None:
            target.write(self.content)
            return
        with self.path.open("rb") as file:
            while part := file.read(1 << 20):
                target.write(part)
        self.path.unlink()


class Workers(Protocol):
    """Processes that work on blocks."""

    @property
    def size(self) -> int:
        """How many they are."""
        ...

    @property
    def room(self) -> int:
        """How many more blocks can be given to them now."""
        ...

    @property
    def idle(self) -> int:
        """How many blocks can be given to those that have none."""
        ...

    def give(self, block: Block) -> None:
        """Give them a block."""
        ...

    def poll(self, seconds: float) -> Sequence[Outcome]:
        """Return what has come of blocks, in any order, waiting for it no longer than so."""
        ...

    def finish(self) -> list[Seen]:
        """End them, and return what was odd in the documents that they had."""
        ...

    def stop(self) -> None:
        """End them at once, if they are still there."""
        ...


class Tries:
    """Counts how often processes ended over a block."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def failed(self, block: Block, how: str) -> None:
        """Count one more. Raises BrokenRunError once it is the block's fault."""
        self._counts[block.index] += 1
        if self._counts[block.index] >= _TRIES:
            raise BrokenRunError(
                f"{_TRIES} processes, one after the other, ended {how} over {block}. Killed for memory is the usual "
                "reason: fewer processes, or a smaller batch_size, need less"
            )


@attrs.define(eq=False)
class _Child:
    process: Any
    connection: Connection
    blocks: deque[Block] = attrs.field(factory=deque)


class ForkedWorkers:
    """Forks of this process, which share its weights. One that ends is replaced, and its blocks are done again."""

    def __init__(self, count: int, worker: BlockWorker, folder: Path, threads: int) -> None:
        """Each has so many threads; what blocks become is written to files in a folder."""
        if sys.platform != "linux":
            raise ConfigError(f"processes={count}: weights are shared on Linux only; elsewhere, use shard=1/{count} …")
        self._worker, self._folder, self._threads = worker, folder, threads
        self._tries = Tries()
        self._again: deque[Block] = deque()
        self._children: list[_Child] = []
        for _ in range(count):
            self._start()

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self._children)

    @property
    def room(self) -> int:
        """How many more blocks can be given now."""
        return max(0, sum(_AT_ONCE - len(child.blocks) for child in self._children) - len(self._again))

    @property
    def idle(self) -> int:
        """How many blocks can be given to those that have none."""
        return max(0, sum(not child.blocks for child in self._children) - len(self._again))

    def give(self, block: Block) -> None:
        """Give one of them a block."""
        child = min(self._children, key=lambda each: len(each.blocks))
        child.blocks.append(block)
        with contextlib.suppress(OSError):  # it has ended: `poll` finds that out
            child.connection.send(block)

    def poll(self, seconds: float) -> list[Outcome]:
        """Return what has come of blocks."""
        while self._again and any(len(child.blocks) < _AT_ONCE for child in self._children):
            self.give(self._again.popleft())
        found = []
        ready = wait([child.connection for child in self._children], timeout=seconds)
        for child in [each for each in self._children if each.connection in ready]:
            try:
                outcome: Outcome = child.connection.recv()
            except (EOFError, OSError):
                self._replace(child)
            else:
                child.blocks.popleft()
                found.append(outcome)
        return found

    def finish(self) -> list[Seen]:
        """End them; return what they saw."""
        found = []
        for child in self._children:
            with contextlib.suppress(EOFError, OSError):
                child.connection.send(None)
                found.append(child.connection.recv())
            child.process.join()
            child.connection.close()
        self._children.clear()
        return found

    def stop(self) -> None:
        """Kill them."""
        for child in self._children:
            child.process.kill()
        for child in self._children:
            child.process.join()
            child.connection.close()
        self._children.clear()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        others = [here, *(child.connection for child in self._children)]
        arguments = (self._worker, there, others, self._folder, self._threads, os.getpid())
        process = context.Process(target=_serve, args=arguments, daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: they are not used here
            process.start()
        there.close()
        self._children.append(_Child(process, here))

    def _replace(self, child: _Child) -> None:
        child.process.join()
        child.connection.close()
        self._children.remove(child)
        if child.blocks:
            self._tries.failed(child.blocks[0], f"with code {child.process.exitcode}")
        self._again.extend(child.blocks)
        self._start()


def _serve(
    worker: BlockWorker, connection: Connection, others: Sequence[Connection], folder: Path, threads: int, parent: int
) -> None:
    """Work on what comes until None comes, or the parent is gone."""
    with contextlib.suppress(OSError, AttributeError):  # killed at once with the parent, also within a block
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):  # the parent takes them and ends this process
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    for other in others:
        other.close()
    import torch

    torch.set_num_threads(threads)
    threads_are_set()
    gc.freeze()  # what is shared with the parent stays shared
    with contextlib.suppress(EOFError, OSError):
        while (block := connection.recv()) is not None:
            connection.send(_outcome(worker, block, folder / f"block-{block.index}"))
        connection.send(worker.seen())


def _outcome(worker: BlockWorker, block: Block, path: Path) -> Outcome:
    try:
        with path.open("w+b") as file, blaming():
            return Outcome(block.index, worker.run(block, file), path=path)
    except Exception as error:
        return Outcome(block.index, error=sendable(error))
