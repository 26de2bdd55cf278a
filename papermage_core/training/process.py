"""What a run changes of the process that it is in, and puts back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from papermage_core.model.forks import check_fork

__all__ = ["process_of_run"]

_SET = ("HF_HUB_OFFLINE", "PL_GLOBAL_SEED", "PL_SEED_WORKERS")
"""Environment variables that we, and Lightning, set."""


@contextmanager
def process_of_run(*, offline: bool, num_threads: int | None) -> Iterator[None]:
    """Set the process up for a run while the block runs; environment, threads and random states are then as before."""
    environment = {name: os.environ.get(name) for name in _SET}
    threads = torch.get_num_threads()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        if offline:
            os.environ["HF_HUB_OFFLINE"] = "1"
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        check_fork()
        yield
    finally:
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
