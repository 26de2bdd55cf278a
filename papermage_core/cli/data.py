"""``papermage-data``: look at documents, find what is wrong with them, split and convert them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from papermage_core.cli._data import (
    adjudicate,
    audit,
    cache,
    check,
    convert,
    merge,
    publish,
    sample,
    split,
    stats,
    view,
)
from papermage_core.cli._data.audit import AuditOptions
from papermage_core.cli._options import options_help
from papermage_core.cli._shell import add_common_flags, check_flags, command_parser, parse_words, run
from papermage_core.config.given import check_lists

__all__ = ["OPTIONS", "AuditOptions", "main"]

_PROG = "papermage-data"
OPTIONS = {
    "check": check.Check,
    "stats": stats.Stats,
    "split": split.Split,
    "sample": sample.Sample,
    "convert": convert.Convert,
    "adjudicate": adjudicate.Adjudicate,
    "merge": merge.Merge,
    "publish": publish.Publish,
    "view": view.View,
}
"""What can be typed as ``key=value``, by command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 3 where documents cannot be read."""
    arguments = parse_words(_parser(), argv, "words")
    return run(lambda: _body(arguments), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace) -> int | None:
    check_flags(arguments, getattr(arguments, "words", ()))
    check_lists(getattr(arguments, "words", ()))
    code: int | None = arguments.body(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, body, text in (
        ("check", check.run, "list everything that is wrong or odd, with its place"),
        ("stats", stats.run, "count documents, units, contexts, labels and lengths"),
        ("split", split.run, "deal whole documents out to files, by a seed"),
        ("sample", sample.run, "take some documents: a share of every kind, or those that a model is least sure of"),
        ("convert", convert.run, "write what any reader reads as any writer writes it"),
        ("adjudicate", adjudicate.run, "make one gold of several annotators' files, and tell how far they agree"),
        ("merge", merge.run, "put the parts together that papermage-predict shard=i/n wrote"),
        ("publish", publish.run, "write a recipe and copies of its checkpoints into one folder"),
        ("view", view.run, "show documents with their labels marked, on the terminal or on a page of HTML"),
    ):
        _add_flags(name, _add_command(commands, name, body, text, epilog=options_help(OPTIONS[name])))
    text = "rank gold that may be wrong: what models of folds doubt in the documents that they did not see"
    more = "and all of papermage-train; folds=5 head=crf unless given"
    auditing = _add_command(
        commands,
        "audit",
        audit.run,
        text,
        epilog=f"{options_help(AuditOptions)}\n{more}",
        usage=f"{_PROG} audit [flags] data_path=FILE label_field=LAYER key=value...",
    )
    auditing.add_argument("-c", "--config", action="append", type=Path, default=[], help="YAML file of options")
    auditing.add_argument("words", nargs="*", metavar="key=value", help="options")
    text = "list, or clear, the documents and examples that runs keep for the next"
    caching = _add_command(commands, "cache", cache.run, text, usage=None)
    caching.add_argument("--json", action="store_true", help="print JSON")
    caching.add_argument("what", choices=("list", "clear"), help="list shows size, date of last use, and files")
    return parser


def _add_command(
    commands: Any, name: str, body: Callable[[argparse.Namespace], Any], text: str, **given: Any
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **{"usage": f"{_PROG} {name} [flags] PATH... key=value...", **given},
    )
    add_common_flags(parser, again=True)
    parser.set_defaults(body=body)
    return parser


def _add_flags(name: str, parser: argparse.ArgumentParser) -> None:
    if name != "view":
        parser.add_argument("--json", action="store_true", help="print JSON")
    if name == "check":
        parser.add_argument("--strict", action="store_true", help="exit code 3 also for what costs F1, or misleads it")
        parser.add_argument("--all", action="store_true", help=f"show every place, not {check.PLACES} of each kind")
    parser.add_argument("words", nargs="*", metavar="PATH or key=value", help="documents, and options")


if __name__ == "__main__":
    raise SystemExit(main())
