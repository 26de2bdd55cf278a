"""What a component may not change of the process that it runs in."""

from __future__ import annotations

import builtins
import contextlib
import csv
import decimal
import gc
import json
import locale
import logging
import multiprocessing
import os
import pickle
import random
import re
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["all_objects", "changes", "new_files", "new_objects_only", "process_state"]

_WATCHED = (
    builtins,
    os,
    json,
    logging,
    pickle,
    re,
    random,
    np,
    np.random,
    torch,
    torch.nn,
    torch.nn.functional,
    torch.optim,
    torch.Tensor,
)
"""Whose attributes are looked at: patching one of them changes other people's code."""
_HOUSE = ("papermage_core.", "torch.nn.modules.", "pytorch_lightning.trainer", "pytorch_lightning.core", "pathlib")
"""Beginnings of the names of modules whose classes are looked at, too."""
_START_METHOD = multiprocessing.get_all_start_methods()[0]
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
_frozen = False
"""Whether somebody was seen to keep objects from the garbage collector: counting them takes long."""


def process_state() -> dict[str, Any]:
    """Return what `changes` compares. The random state is not among it: a run is seeded after its plugins are there."""
    root = logging.getLogger()
    return {
        "environment variables": dict(os.environ),
        "the working folder": os.getcwd(),  # noqa: PTH109 - compared, not used
        "sys.path": list(sys.path),
        "sys.stdout": id(sys.stdout),
        "sys.stderr": id(sys.stderr),
        "sys.excepthook": id(sys.excepthook),
        "sys.unraisablehook": id(sys.unraisablehook),
        "threading.excepthook": id(threading.excepthook),
        "warnings.showwarning": id(warnings.showwarning),
        "the profiler or tracer": (id(sys.getprofile()), id(sys.gettrace())),
        "the recursion limit": sys.getrecursionlimit(),
        "the switch interval of threads": sys.getswitchinterval(),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "the start method of processes": multiprocessing.get_start_method(allow_none=True) or _START_METHOD,
        "the default timeout of sockets": socket.getdefaulttimeout(),
        "the context of decimal numbers": str(decimal.getcontext()),
        "limits of resources": _limits(),
        "the field size limit of csv": csv.field_size_limit(),
        "sys.argv": list(sys.argv),
        "child processes": sorted(child.name for child in multiprocessing.active_children()),
        "the locale": locale.setlocale(locale.LC_ALL),
        "filters of warnings": list(map(str, warnings.filters)),
        "the root logger": (root.level, len(root.handlers), logging.root.manager.disable),
        "attributes of loggers": _loggers(),
        "signal handlers": {each.name: id(signal.getsignal(each)) for each in signal.Signals},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "umask": _umask(),
        "numpy's handling of errors": np.geterr(),
        "numpy's print options": str(np.get_printoptions()),
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's anomaly detection": torch.is_anomaly_enabled(),
        "torch's precision of matrix products": torch.get_float32_matmul_precision(),
        "torch's default device": str(torch.get_default_device()),
        "torch's settings of cuDNN": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "torch's use of TF32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "torch's use of cuDNN and oneDNN": (torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled),
        "torch's handling of denormal numbers": float(torch.tensor(1e-310, dtype=torch.float64) * 0.5) == 0,
        "torch's print options": str(vars(torch._tensor_str.PRINT_OPTS)),
        "attributes of the modules imported": _standard_modules(),
        "hooks of all torch modules": [len(getattr(torch.nn.modules.module, name, ())) for name in _GLOBAL_HOOKS],
        **{f"attributes of {_name(owner)}": _attributes(owner) for owner in [*_WATCHED, *_house()]},
    }


def _standard_modules() -> dict[str, int]:
    """Return which object each module of Python's own is; others (transformers) replace themselves when they load."""
    return {name: id(module) for name, module in list(sys.modules.items()) if name in sys.stdlib_module_names}


def _loggers() -> dict[str, Any]:
    """Return what decides, of each logger that has been set or is our own, on what is logged."""
    return {
        name: (logger.level, logger.disabled, logger.propagate, len(logger.handlers))
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger)
    }


def _house() -> Iterator[Any]:
    """Yield the modules and classes of papermage_core, and the classes of torch.nn and Lightning."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_HOUSE) and isinstance(module, types.ModuleType):
            if name.startswith("papermage_core"):
                yield module
            yield from (each for each in vars(module).values() if type(each) is type and each.__module__ == name)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what is another, in words. Attributes that are new are none: importing a module adds them."""
    found = []
    for what, was in before.items():
        now = after.get(what, was)
        if not isinstance(was, dict):
            found += [what] if was != now else []
            continue
        new = set() if what.startswith("attributes of") else now.keys() - was.keys()
        names = [*sorted(map(str, new)), *(str(key) for key in was if key not in now or was[key] != now[key])]
        found += [f"{what} ({', '.join(names)})"] if names else []
    return found


@contextlib.contextmanager
def new_objects_only() -> Iterator[None]:
    """Let ``gc.collect`` and ``gc.get_objects`` look at what the block makes, not at a million others."""
    global _frozen
    _frozen = _frozen or gc.get_freeze_count() > 0
    if _frozen:  # somebody keeps objects out already, which must not be undone
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def all_objects() -> Iterator[None]:
    """Let ``gc.get_objects`` look at those, too, that somebody keeps out."""
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    try:
        yield
    finally:
        if frozen:
            gc.freeze()


def _attributes(owner: Any) -> dict[str, int]:
    kinds = (types.FunctionType, types.BuiltinFunctionType, type)
    return {name: id(value) for name, value in vars(owner).items() if isinstance(value, kinds)}


def _name(owner: Any) -> str:
    return owner.__name__ if isinstance(owner, types.ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def _limits() -> dict[str, Any]:
    """Return the limits that the process has set itself, where the system has any."""
    try:
        import resource
    except ImportError:
        return {}
    return {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def new_files(folder: Path) -> list[str]:
    """Return the files in a folder that was empty, bytecode left out."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
