"""The processor at hand: what it computes fast, and the settings that let it."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import torch

__all__ = ["CpuPrecision", "choose_precision", "has_accelerator", "has_bfloat16", "tune_allocator"]

logger = logging.getLogger(__name__)

CpuPrecision = Literal["float32", "medium", "bfloat16"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_THRESHOLD = 1 << 30


def has_accelerator() -> bool:
    """Whether there is a GPU that training would run on."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


@cache
def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX), as Linux tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    flags = next((line for line in cpuinfo.read_text(errors="replace").splitlines() if line.startswith("flags")), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def choose_precision(wanted: str) -> CpuPrecision:
    """Return the arithmetic for a CPU that an option of ``encoder.cpu_precision`` means here."""
    if wanted == "auto":
        return "bfloat16" if has_bfloat16() else "medium"
    assert wanted in ("float32", "medium", "bfloat16")
    return wanted  # type: ignore[return-value]  # mypy does not narrow by a tuple of literals


@cache
def tune_allocator() -> bool:
    """Let glibc keep large blocks instead of handing them back to the system; return whether it does now.

    The activations of a training step are blocks of megabytes, for which glibc asks the system and which it returns at
    once; the page faults take more time than the arithmetic. What the environment says about malloc is left alone.
    Does nothing but on Linux with glibc.
    """
    chosen = [name for name in os.environ if name.startswith("MALLOC_") and name.endswith("_")]
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        chosen.append("GLIBC_TUNABLES")
    if chosen or sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_MMAP_THRESHOLD, _THRESHOLD)) & bool(mallopt(_TRIM_THRESHOLD, _THRESHOLD))
