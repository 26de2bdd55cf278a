"""Averages gradients over the processes of one machine in memory that they share.

The sockets of gloo move the gradients of a small model in about the time of its step. Here each process writes its own
once, takes the mean of a share over all processes, and reads the rest.

The memory has no name in ``/dev/shm`` (memfd): the kernel frees it with the last process that has it, however that
ends. Of it only as much is taken as the largest bucket needs. What waits, waits in gloo's barrier: like gloo's own
averaging, it raises where a peer has died, and after the process group's timeout where one hangs.
"""

# No annotations from __future__: torch looks at the type that the hook takes.
import contextlib
import itertools
import mmap
import os
import secrets
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

__all__ = ["SharedMean", "average_in_shared_memory"]


def average_in_shared_memory(model: Any, n_nodes: int) -> bool:
    """Have a model's gradients averaged in shared memory where that can be; return whether they are.

    That can be where all processes are on one machine with Linux, compute on the CPU, and may open each other's memory.
    All processes come to the same decision. A model that is not wrapped by DistributedDataParallel is left alone.
    """
    if not isinstance(model, DistributedDataParallel) or n_nodes > 1:
        return False
    parameters = [p for p in model.parameters() if p.requires_grad]
    if any(p.device.type != "cpu" for p in parameters):
        return False
    size = sum(p.numel() * p.element_size() for p in parameters)
    maps = _mapped(-(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
    if maps is not None:
        model.register_comm_hook(SharedMean(maps), SharedMean.hook)
    return maps is not None


def _mapped(size: int) -> list[mmap.mmap] | None:
    """Return memory of each process, the first twice ``size`` bytes, seen by all; None where there can be none.

    Whatever fails in one process, all take part in both exchanges: a peer that waits for a third would wait in vain.
    """
    rank, n_processes = distributed.get_rank(), distributed.get_world_size()
    name, own, maps = f"papermage-{secrets.token_hex(16)}", None, []
    with contextlib.suppress(OSError, AttributeError):  # a system that has none
        own = os.memfd_create(name)
        os.ftruncate(own, size * (1 if rank else 2))
    offered: list[Any] = [None] * n_processes
    distributed.all_gather_object(offered, None if own is None else (f"/proc/{os.getpid()}/fd/{own}", name))
    with contextlib.suppress(OSError, ValueError):  # ValueError: an empty file, of one that got no memory
        for path, its_name in filter(None, offered):
            # in another container the same number is that of another process, with files of its own
            if str(Path(path).readlink()) == f"/memfd:{its_name} (deleted)":
                with Path(path).open("r+b", buffering=0) as file:
                    maps.append(mmap.mmap(file.fileno(), 0))
    agreed: list[Any] = [None] * n_processes
    distributed.all_gather_object(agreed, len(maps) == n_processes)  # and all have opened what is closed now
    if own is not None:
        os.close(own)
    return maps if all(agreed) else None


class SharedMean:
    """The mean of gradients over all processes; each takes that of a share for all, so that all have the same.

    ``maps`` holds a map of memory for the gradients of each process; the second half of the first is for their mean.
    """

    def __init__(self, maps: list[mmap.mmap]) -> None:
        self._maps = maps
        self._rank = distributed.get_rank()

    def hook(self, bucket: GradBucket) -> Future[Tensor]:
        """Replace the gradients of a bucket, of shape ``(n,)``, by their mean; return a future that holds it."""
        gradients = bucket.buffer()
        kind, n = gradients.dtype, gradients.numel()
        parts = [torch.frombuffer(each, dtype=kind, count=n) for each in self._maps]
        mean = torch.frombuffer(self._maps[0], dtype=kind, count=n, offset=len(self._maps[0]) // 2)
        bounds = [n * i // len(parts) for i in range(len(parts) + 1)]
        shares = [slice(*pair) for pair in itertools.pairwise(bounds)]
        mine = shares.pop(self._rank)
        for share in shares:
            parts[self._rank][share] = gradients[share]
        distributed.barrier()  # what others sum is written
        for rank, part in enumerate(parts):
            if rank != self._rank:
                gradients[mine] += part[mine]
        mean[mine] = gradients[mine].div_(len(parts))
        distributed.barrier()  # all means are written, and all parts are read: the next bucket may come
        for share in shares:
            gradients[share] = mean[share]
        future: Future[Tensor] = Future()
        future.set_result(gradients)
        return future
