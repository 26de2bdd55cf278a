"""Run benchmarks from a checkout: ``python -m benchmarks [NAME …] [--json FILE]`` prints tables in Markdown.

Each row is printed, and the JSON written, as soon as it is measured. What needs something that is not there says so.
What fails says why, and the others are run all the same; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import pkgutil
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

import benchmarks
from benchmarks import NeedsError, NotMeasured, Record, Rows
from benchmarks._table import HEAD, header, row


def main() -> int:
    """Print tables of the chosen benchmarks' records, with what they were measured on, and write JSON where asked.

    Return the exit code: 1 where one failed.
    """
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default all")
    parser.add_argument("--json", type=Path, help="also write the records here")
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    about = header(shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]))
    print(about, flush=True)
    records: list[dict[str, Any]] = []

    def add(found: Record) -> None:
        records.append(attrs.asdict(found) | {"measured": about})
        if args.json:
            args.json.write_text(json.dumps(records, indent=1))

    return max([0, *(_run(name, add) for name in args.names or known)])


def _run(name: str, add: Callable[[Record], None]) -> int:
    """Print the table of a benchmark, row by row, and its notes; return 1 where it fails."""
    print(f"\n## {name}\n", flush=True)
    notes: list[str] = []
    try:
        head = list(HEAD)
        for found in _rows(name):
            if isinstance(found, NotMeasured):
                notes.append(f"\nNot measured: {found.what}, which needs {found.needs}.")
                continue
            print("\n".join([*head, row(found)]), flush=True)
            head.clear()
            notes += [f"\n{found.name}: {found.note}"] if found.note else []
            add(found)
    except NeedsError as missing:
        notes.append(f"\nNot measured: {name} needs {missing}.")
    except Exception:  # whatever it is: the others are still measured, and the exit code tells
        traceback.print_exc()
        notes.append(f"\nNot measured: {name} failed.")
        return 1
    finally:
        print("\n".join(notes), flush=True)
    return 0


def _rows(name: str) -> Rows:
    """Yield what a benchmark gives. Raises NeedsError where a peer is not installed."""
    try:
        with contextlib.closing(importlib.import_module(f"benchmarks.{name}").run()) as found:
            yield from found
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith(("papermage_", "benchmarks", "tests")):
            raise  # ours: a fault of the benchmark
        raise NeedsError(f"{missing.name}: pip install 'papermage_core[bench]'") from None


if __name__ == "__main__":
    raise SystemExit(main())
