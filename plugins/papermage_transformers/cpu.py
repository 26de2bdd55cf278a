"""The CPU at hand: which arithmetic is fast on it, and the settings of the process that make it so."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from papermage_core.errors import ConfigError
from papermage_transformers.int8_kernels import has_int8_kernels

__all__ = [
    "CpuPrecision",
    "PredictionPrecision",
    "choose_precision",
    "has_accelerator",
    "has_bfloat16",
    "medium_matmul",
    "prediction_precision",
    "prepare",
    "tune_allocator",
    "tune_process",
]

logger = logging.getLogger(__name__)

CpuPrecision = Literal["float32", "medium", "bfloat16"]
PredictionPrecision = Literal["float32", "bfloat16", "int8"]

_ONLY_FLOAT32 = ("deberta",) if int(transformers.__version__.split(".")[0]) >= 5 else ("deberta", "modernbert")
"""Kinds of model that mask with the least number of float32, which is too large for what autocast computes in."""
_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Limits of oneDNN below the instructions for bfloat16."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_THRESHOLD = 1 << 30


def has_accelerator() -> bool:
    """Whether there is a GPU that training would run on."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


@cache
def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX), as Linux tells.

    Not where the environment keeps oneDNN, which does it, from the instructions.
    """
    if (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")).upper() in _WITHOUT_BFLOAT16:
        return False
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    flags = next((line for line in cpuinfo.read_text(errors="replace").splitlines() if line.startswith("flags")), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def choose_precision(wanted: str, model_type: str = "") -> CpuPrecision:
    """Return the arithmetic for a CPU that a value of ``encoder.cpu_precision`` means here, for this kind of model.

    Raises ConfigError where bfloat16 is asked for and the model cannot be computed in it.
    """
    precision = ("bfloat16" if has_bfloat16() else "medium") if wanted == "auto" else wanted
    if precision == "bfloat16" and model_type in _ONLY_FLOAT32:
        if wanted == "bfloat16":
            raise ConfigError(
                f"encoder.cpu_precision: transformers' {model_type} models fail in bfloat16; "
                "expected auto, medium or float32"
            )
        return "medium"
    assert precision in ("float32", "medium", "bfloat16")
    return precision  # type: ignore[return-value]  # mypy does not narrow by a tuple of literals


def prediction_precision(wanted: str, model_type: str, device: torch.device) -> PredictionPrecision:
    """Return the arithmetic that ``fp32``, ``bf16`` or ``int8`` means for a kind of model where no gradient is wanted.

    Raises ConfigError for one that cannot be had, or would be slower than float32 on this processor.
    """
    if wanted == "fp32":
        return "float32"
    if wanted == "bf16":
        if model_type in _ONLY_FLOAT32:
            raise ConfigError(f"precision=bf16: transformers' {model_type} models fail in bfloat16; expected fp32")
        if device.type == "cpu" and not has_bfloat16():
            raise ConfigError("precision=bf16: this processor multiplies no bfloat16; expected fp32 or int8")
        return "bfloat16"
    if wanted != "int8":
        raise ConfigError(f"precision={wanted}: expected fp32, bf16 or int8")
    if device.type != "cpu":
        raise ConfigError(f"precision=int8: on the CPU alone; expected fp32 or bf16 on {device}")
    if not has_int8_kernels():
        raise ConfigError("precision=int8: this torch has no products of int8 for this processor; expected fp32")
    return "int8"


class _MediumMatmul:
    """While any thread is inside, the CPU may multiply float32 matrices in bfloat16 where it has instructions for it.

    The setting belongs to the process: the first thread that enters sets it, the last that leaves sets it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = _matmul_precision()
                _set_matmul_precision(_MEDIUM)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _set_matmul_precision(self._before)


medium_matmul = _MediumMatmul()

_setting: Any = getattr(torch.backends.mkldnn, "matmul", None)
_OF_THE_CPU = hasattr(_setting, "fp32_precision")  # from torch 2.9 on; before, one setting is for all devices
_MEDIUM = "bf16" if _OF_THE_CPU else "medium"


def _matmul_precision() -> str:
    return str(_setting.fp32_precision if _OF_THE_CPU else torch.get_float32_matmul_precision())


def _set_matmul_precision(value: str) -> None:
    if value == _matmul_precision():
        return
    if _OF_THE_CPU:
        _setting.fp32_precision = value
    else:
        torch.set_float32_matmul_precision(value)


_may_tune = False  # whether a command has allowed it


def tune_process(*, allocator: bool) -> None:
    """Change the process for speed, for good: the allocator now, the arithmetic when a model is built that wants it."""
    global _may_tune
    _may_tune = True
    if allocator and tune_allocator():
        logger.info("CPU: large memory blocks are kept (override with encoder.tune_allocator)")


def prepare(precision: CpuPrecision) -> None:
    """Let backward passes too multiply as `medium_matmul` does, where the process may be changed for speed."""
    if _may_tune and precision == "medium":
        torch.set_float32_matmul_precision("medium")


@cache
def tune_allocator() -> bool:
    """Let glibc keep large blocks instead of handing them back to the system; return whether it does now.

    The activations of a training step are blocks of megabytes, for which glibc asks the system and which it returns at
    once; the page faults take more time than the arithmetic. What the environment says about malloc is left alone.
    Does nothing but on Linux with glibc. Holds for the whole process and cannot be undone.
    """
    chosen = [name for name in os.environ if name.startswith("MALLOC_") and name.endswith("_")]
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        chosen.append("GLIBC_TUNABLES")
    if chosen or sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_MMAP_THRESHOLD, _THRESHOLD)) & bool(mallopt(_TRIM_THRESHOLD, _THRESHOLD))
