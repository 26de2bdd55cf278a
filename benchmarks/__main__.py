"""Run benchmarks from a checkout: ``python -m benchmarks [NAME …] [--json FILE]``."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
from pathlib import Path

import attrs

import benchmarks


def main() -> None:
    """Print a table of the chosen benchmarks' records, and write them as JSON where asked."""
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default all")
    parser.add_argument("--json", type=Path, help="also write the records here")
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    records = []
    for name in args.names or known:
        for record in importlib.import_module(f"benchmarks.{name}").run():
            reference = f"{record.reference_value:12.4g}  {record.reference}" if record.reference else ""
            ratio = f"{record.ratio:8.3f}" if record.ratio is not None else " " * 8
            print(f"{record.name:48} {record.value:12.4g} {record.unit:8} {ratio} (target {record.target}) {reference}")
            records.append(attrs.asdict(record))
    if args.json:
        args.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
