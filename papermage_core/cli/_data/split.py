"""``papermage-data split``: whole documents dealt out to files, by a seed."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs

from papermage_core.cli._data.shared import Reading, as_json, read
from papermage_core.cli._options import skipping, tell_passed_over
from papermage_core.cli._shell import say
from papermage_core.errors import counted
from papermage_core.plugin.spec import option

__all__ = ["Split", "run"]


@attrs.frozen(kw_only=True)
class Split(Reading):
    """Options of ``split``."""

    output_path: Path = option(help="folder for the files")
    shares: tuple[float, ...] = option(
        (0.8, 0.1, 0.1), help="share of the documents that each file gets; 8,1,1 means the same"
    )
    names: tuple[str, ...] = option(("train", "dev", "test"), help="names of the files, without .jsonl")
    seed: int = option(470, help="another seed, another split", ge=0)
    overwrite: bool = option(False, help="replace files of these names that are there already")


def run(arguments: argparse.Namespace) -> None:
    """Write a file for each share of the documents."""
    from papermage_core.data.splitting import split

    options, reader, _ = read(Split, arguments)
    tell_passed_over(options.data_path, reader)
    with skipping(options.on_error) as on_error:
        written = split(
            options.data_path,
            options.output_path,
            shares=options.shares,
            names=options.names,
            seed=options.seed,
            reader=reader,
            on_error=on_error,
            overwrite=options.overwrite,
        )
    if arguments.json:
        say(as_json({str(path): documents for path, documents in written.items()}))
    else:
        say("\n".join(f"{path}: {counted(documents, 'documents')}" for path, documents in written.items()))
