"""Actors of a Ray cluster that work on blocks: each holds the model, on whatever machine it is.

Needs ray: ``pip install 'papermage_core[ray]'``. Documents, checkpoints and plugin files must be under the same paths
on all machines; what is written comes back to this one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs

from papermage_core.data.blocks import Block
from papermage_core.errors import BrokenRunError, ConfigError, PluginError
from papermage_core.plugin.blame import blaming
from papermage_core.prediction.annotators import ModelChoice, RecipeChoice, Seen
from papermage_core.prediction.work import BlockWorker, Work
from papermage_core.prediction.workers import Outcome, Tries

__all__ = ["RayWorkers"]

_log = logging.getLogger(__name__)
_AT_ONCE = 2
"""Blocks that an actor is given at once."""
_STARTS = 3
"""How often an actor is started that ends before it has a model."""
_PATIENCE = 60.0
"""Seconds without any actor after which it is said what is waited for."""


class _Actor:
    """Holds a model, and works on blocks."""

    def __init__(self, work: Work, choice: ModelChoice | RecipeChoice, threads: int, folder: str) -> None:
        import torch

        with contextlib.suppress(OSError):
            os.chdir(folder)  # paths are those of the process that hands out blocks
        torch.set_num_threads(threads)
        self._failure: Exception | None = None
        try:
            with blaming():
                choice.tune_process()
                self._worker = BlockWorker(work, choice.load())
        except Exception as error:  # raised here, it would be one of Ray's
            self._failure = error

    def ready(self) -> Exception | None:
        """Return why there is no model, if there is none."""
        return self._failure

    def run(self, block: Block) -> Outcome:
        """Return what comes of a block."""
        file = io.BytesIO()
        try:
            with blaming():
                done = self._worker.run(block, file)
        except Exception as error:
            error.__traceback__ = error.__cause__ = error.__context__ = None
            return Outcome(block.index, error=error)
        return Outcome(block.index, done, content=file.getvalue())

    def seen(self) -> Seen:
        """Return what was odd in the documents."""
        return self._worker.seen()


@attrs.define(eq=False)
class _Member:
    actor: Any
    is_ready: bool = False
    blocks: deque[Block] = attrs.field(factory=deque)


class RayWorkers:
    """Actors. Where one is lost, with its machine or alone, its blocks are done again by others, and it is replaced."""

    def __init__(
        self,
        count: int | None,
        work: Work,
        choice: ModelChoice | RecipeChoice,
        threads: int | None,
        address: str | None,
        device: str | None,
    ) -> None:
        """Without a count there are as many as the cluster has GPUs, else CPUs that threads are left for."""
        try:
            import ray
        except ModuleNotFoundError as exc:
            raise PluginError("engine=ray needs ray; type: pip install 'papermage_core[ray]'") from exc
        self._ray = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _join(ray, address)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call, unused-ignore]
        gpus = 0 if device == "cpu" else int(resources.get("GPU", 0))
        threads = threads or 1
        self._count = count or gpus or max(1, int(resources.get("CPU", 1)) // threads)
        self._class = ray.remote(num_cpus=threads, num_gpus=min(1.0, gpus / self._count), max_restarts=0)(_Actor)
        self._arguments = (work, choice, threads, os.getcwd())  # noqa: PTH109
        self._members: list[_Member] = []
        self._pending: dict[Any, tuple[_Member, Block | None]] = {}
        self._again: deque[Block] = deque()
        self._tries = Tries()
        self._failed_starts = 0
        self._alone_since = time.monotonic()
        for _ in range(self._count):
            self._start()

    @property
    def size(self) -> int:
        """How many they are."""
        return self._count

    @property
    def room(self) -> int:
        """How many more blocks can be given now."""
        free = sum(_AT_ONCE - len(member.blocks) for member in self._members if member.is_ready)
        return max(0, free - len(self._again))

    @property
    def idle(self) -> int:
        """How many blocks can be given to those that have none."""
        return max(0, sum(member.is_ready and not member.blocks for member in self._members) - len(self._again))

    def give(self, block: Block) -> None:
        """Give one of them a block."""
        member = min((each for each in self._members if each.is_ready), key=lambda each: len(each.blocks))
        member.blocks.append(block)
        self._pending[member.actor.run.remote(block)] = (member, block)

    def poll(self, seconds: float) -> Sequence[Outcome]:
        """Return what has come of blocks."""
        while self._again and any(each.is_ready and len(each.blocks) < _AT_ONCE for each in self._members):
            self.give(self._again.popleft())
        found: list[Outcome] = []
        if not self._pending:
            return found
        first, others = self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        more = self._ray.wait(others, num_returns=len(others), timeout=0)[0] if first and others else []
        for reference in [*first, *more]:
            if reference not in self._pending:  # of an actor that was found lost meanwhile
                continue
            member, block = self._pending.pop(reference)
            try:
                value = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._lost(member, block, error)
            else:
                self._take(member, block, value, found)
        self._say_what_is_waited_for()
        return found

    def _take(self, member: _Member, block: Block | None, value: Any, found: list[Outcome]) -> None:
        if block is not None:
            member.blocks.remove(block)
            found.append(value)
        elif value is not None:
            raise value  # no model: so it would be with every actor
        else:
            member.is_ready = True
            self._failed_starts = 0

    def _lost(self, member: _Member, block: Block | None, error: Exception) -> None:
        if member in self._members:
            self._members.remove(member)
            self._pending = {key: each for key, each in self._pending.items() if each[0] is not member}
            if block is None:
                self._failed_starts += 1
                if self._failed_starts > _STARTS * self._count and not any(each.is_ready for each in self._members):
                    raise BrokenRunError(f"actors end as soon as they start: {error}") from error
            elif member.blocks[0] is block:
                self._tries.failed(block, f"({type(error).__name__})")
            self._again.extend(member.blocks)
            _log.warning("an actor was lost (%s); its documents are done again", type(error).__name__)
            with contextlib.suppress(Exception):
                self._ray.kill(member.actor)
            self._start()

    def _start(self) -> None:
        member = _Member(self._class.remote(*self._arguments))
        self._members.append(member)
        self._pending[member.actor.ready.remote()] = (member, None)

    def _say_what_is_waited_for(self) -> None:
        if any(each.is_ready for each in self._members):
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > _PATIENCE:
            self._alone_since = time.monotonic()
            _log.warning("no machine of the cluster has room for an actor yet: waiting for one")

    def finish(self) -> list[Seen]:
        """End them; return what they saw."""
        found = []
        for member in self._members:
            if member.is_ready:
                with contextlib.suppress(self._ray.exceptions.RayError):
                    found.append(self._ray.get(member.actor.seen.remote(), timeout=30))
        self.stop()
        return found

    def stop(self) -> None:
        """Kill the actors, and leave the cluster."""
        for member in self._members:
            with contextlib.suppress(Exception):
                self._ray.kill(member.actor)
        self._members.clear()
        self._pending.clear()
        if self._is_ours:
            self._is_ours = False
            self._ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one of this machine alone."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as exc:
        raise ConfigError(f"address={address}: there is no Ray cluster to join: {exc}") from exc
