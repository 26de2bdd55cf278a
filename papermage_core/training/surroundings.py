"""Where a run takes place: versions, machine, memory, and the state of the code in the working folder.

Nothing of the environment's variables is looked at, and of git neither addresses nor contents: they may hold secrets.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["git_state", "machine", "peak_memory", "versions"]

_VERSIONS = ("papermage_core", "torch", "pytorch-lightning", "transformers", "tokenizers", "safetensors", "numpy")


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Return distribution → version, of what a result may depend on and of these; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in dict.fromkeys([*_VERSIONS, *distributions]):
        try:
            found[name] = _version(name)
        except (PackageNotFoundError, ValueError):
            continue
    return found


@functools.cache
def _version(distribution: str) -> str:
    return version(distribution)


def machine() -> dict[str, Any]:
    """Return what computes: system, processor, cores, memory, GPUs."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["cuda"] = torch.version.cuda
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def peak_memory() -> dict[str, int]:
    """Return the most bytes that this process has had, and those of torch on each GPU."""
    found = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["process"] = peak if sys.platform == "darwin" else peak * 1024
    if torch.cuda.is_available():
        found |= {f"cuda:{i}": torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count())}
    return found


def git_state(folder: Path) -> Mapping[str, Any] | None:
    """Return commit, branch and the number of changed files of the repository that a folder is in; None without one."""
    lines = (_git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no") or "").splitlines()
    told = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    if told.get("branch.oid", "(initial)") == "(initial)":
        return None
    return {
        "commit": told["branch.oid"],
        "branch": "HEAD" if told["branch.head"] == "(detached)" else told["branch.head"],
        "changed_files": sum(not line.startswith("#") for line in lines),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
