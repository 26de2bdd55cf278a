"""Run benchmarks from a checkout: ``python -m benchmarks [NAME …] [--json FILE]`` prints tables in Markdown."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import shlex
import sys
from pathlib import Path

import attrs

import benchmarks
from benchmarks._table import header, table


def main() -> None:
    """Print tables of the chosen benchmarks' records, with what they were measured on, and write JSON where asked."""
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default all")
    parser.add_argument("--json", type=Path, help="also write the records here")
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    about = header(shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]))
    print(about, flush=True)
    records = []
    for name in args.names or known:
        print(f"\n## {name}\n", flush=True)
        found = list(importlib.import_module(f"benchmarks.{name}").run())
        print("\n".join([*table(found), *(f"\n{each.name}: {each.note}" for each in found if each.note)]), flush=True)
        records += [attrs.asdict(each) | {"measured": about} for each in found]
    if args.json:
        args.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
