"""Records as Markdown, under a line that says where, when and how they were measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import torch

from benchmarks import Record

__all__ = ["HEAD", "header", "processor", "row"]

ROOT = Path(__file__).parents[1]


def header(command: str) -> str:
    """Return processor, cores, load, date, commit and command on one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    now = datetime.now(tz=timezone.utc)
    return f"*{processor()}, {cores} cores, {accelerator()}{load}; {now:%Y-%m-%d}; commit {commit()}; `{command}`*"


def processor() -> str:
    """Return what the system calls its processor, and what of its arithmetic decides speeds."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    best = next((words for flag, words in _ARITHMETIC.items() if flag in has), None)
    found = name[1].strip() if name else platform.processor() or platform.machine()
    return f"{found} with {best}" if best else found


_ARITHMETIC = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2"}


def accelerator() -> str:
    """Return the name of the first GPU that torch sees."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"


def commit() -> str:
    """Return the commit of the checkout, with a mark where tracked files differ from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not recorded"
    return found.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


HEAD = ("| | value | reference | ratio | asked for |", "|---|---|---|---|---|")
"""The first lines of a table of records."""


def row(found: Record) -> str:
    """Return a record as a line of a table."""
    reference = f"{found.reference}: {found.reference_value:.4g}" if found.reference_value is not None else "–"
    ratio = f"{found.ratio:.3g}" if found.ratio is not None else "–"
    cells = (found.name, f"{found.value:.4g} {found.unit}", reference, ratio, found.target or "–")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
