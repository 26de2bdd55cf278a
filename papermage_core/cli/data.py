"""``papermage-data``: look at documents, find what is wrong with them, split and convert them."""

from __future__ import annotations

import argparse
import glob
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from papermage_core.cli._options import options_help, processor_choice, read_options, reader_choice
from papermage_core.cli._shell import add_common_flags, command_parser, parse_words, run, say
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import ConfigError, DataError
from papermage_core.plugin.spec import option

__all__ = ["main"]

_PROG = "papermage-data"


@attrs.frozen(kw_only=True)
class Source:
    """Options of every command: what is read."""

    data_path: tuple[str, ...] = option(help="documents: files, folders, globs, or - for standard input")
    reader: str | None = option(
        None, help="document reader; none: by the ending of each file; its options as reader.key=value"
    )
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")


@attrs.frozen(kw_only=True)
class Labelled(Source):
    """Options of the commands that look at labels; named as for ``papermage-train``."""

    label_field: tuple[str, ...] = option((), help="layers that hold the gold entities")
    entity_name: str = option("tokens", help="layer of the units that get a label")
    context_name: str = option("pages", help="layer of what the encoder looks at together")
    label_attribute: str | None = option(None, help="take labels from this key of the entities' metadata")


@attrs.frozen(kw_only=True)
class Check(Labelled):
    """Options of ``check``."""

    label_scheme: str = option("bio", help="label scheme whose limits count")


@attrs.frozen(kw_only=True)
class Split(Source):
    """Options of ``split``."""

    output_path: Path = option(help="folder for the files")
    shares: tuple[float, ...] = option((0.8, 0.1, 0.1), help="share of the documents that each file gets")
    names: tuple[str, ...] = option(("train", "dev", "test"), help="names of the files, without .jsonl")
    seed: int = option(470, help="another seed, another split", ge=0)
    overwrite: bool = option(False, help="replace files of these names that are there already")

    def __attrs_post_init__(self) -> None:
        names = self.names[: len(self.shares)]
        if len(names) < len(self.shares) or len(set(names)) < len(names):
            raise ConfigError(f"names={','.join(self.names)}: expected a name of its own for each of shares")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(f"shares={','.join(map(str, self.shares))}: expected shares above 0 that sum to 1")


@attrs.frozen(kw_only=True)
class Convert(Source):
    """Options of ``convert``."""

    output_path: str = option(
        help="file to write, compressed as its name says; - for standard output; or a last PATH that is new"
    )
    writer: str | None = option(
        None, help="document writer; none: by the ending of output_path; its options as writer.key=value"
    )
    processors: tuple[str, ...] = option(
        (), help="processors that add layers, in order; their options as processors.NAME.key=value"
    )
    overwrite: bool = option(False, help="replace what is there already")


@attrs.frozen(kw_only=True)
class View(Labelled):
    """Options of ``view``."""

    document: str = option("0", help="its number, counted from 0, or its id")
    context: int | None = option(None, help="show this context only, counted from 0; none: the whole document", ge=0)
    colour: str = option("auto", help="auto: on a terminal", choices=("auto", "always", "never"))


Options = TypeVar("Options", bound=Source)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 3 where documents cannot be read."""
    arguments = parse_words(_parser(), argv, "words")
    return run(lambda: arguments.body(arguments), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, options, body, text in (
        ("check", Check, _check, "list everything that is wrong or odd, with its place"),
        ("stats", Labelled, _stats, "count documents, units, contexts, labels and lengths"),
        ("split", Split, _split, "deal whole documents out to files, by a seed"),
        ("convert", Convert, _convert, "write what any reader reads as any writer writes it"),
        ("view", View, _view, "show the text of a document with its labels marked"),
    ):
        _add_command(commands, name, options, body, text)
    return parser


def _add_command(
    commands: Any, name: str, options: type[Source], body: Callable[[argparse.Namespace], Any], text: str
) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=options_help(options),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage=f"{_PROG} {name} [flags] PATH... key=value...",
    )
    add_common_flags(parser)
    for action in parser._actions:
        if action.dest in ("debug", "quiet"):
            action.default = argparse.SUPPRESS  # else it would undo the flag given before the command
    if name != "view":
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("words", nargs="*", metavar="PATH or key=value", help="documents, and options")
    parser.set_defaults(body=body)


def _read(
    cls: type[Options], arguments: argparse.Namespace
) -> tuple[Options, ReaderChoice, Callable[[str], dict[str, Any]]]:
    """Return the options, the readers, and what returns a component's options; a word without ``=`` is a path."""
    paths = [word for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    if paths:
        overrides.append(f"data_path={','.join(paths)}")
    options, options_of = read_options(cls, overrides)
    return options, reader_choice(options, options_of), options_of


# Commands ------------------------------------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace) -> int:
    from papermage_core.cli._data_check import check, describe

    options, reader, _ = _read(Check, arguments)
    found = check(options, reader)
    say(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if arguments.json else describe(found))
    return DataError.exit_code if found.faults else 0


def _stats(arguments: argparse.Namespace) -> None:
    from papermage_core.cli._data_stats import count, describe

    options, reader, _ = _read(Labelled, arguments)
    found = count(options, reader)
    say(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if arguments.json else describe(found))


def _split(arguments: argparse.Namespace) -> None:
    from papermage_core.cli._data_split import split

    options, reader, _ = _read(Split, arguments)
    written = split(options, reader)
    if arguments.json:
        say(json.dumps({str(path): documents for path, documents in written.items()}, indent=2, ensure_ascii=False))
    else:
        say("\n".join(f"{path}: {documents} documents" for path, documents in written.items()))


def _convert(arguments: argparse.Namespace) -> None:
    from papermage_core.data.converting import convert
    from papermage_core.plugin.manager import Plugins

    arguments.words = _with_output_path(arguments.words)
    options, reader, options_of = _read(Convert, arguments)
    written = convert(
        options.data_path,
        options.output_path,
        reader=reader,
        writer=options.writer,
        writer_options=options_of("writer"),
        processors=processor_choice(options, options_of),
        plugins=Plugins(options.plugins_path),
        overwrite=options.overwrite,
    )
    if options.output_path == "-":
        return
    if arguments.json:
        say(json.dumps({"output_path": options.output_path, **attrs.asdict(written)}, ensure_ascii=False))
    else:
        say(f"{options.output_path}: {written}")


def _with_output_path(words: Sequence[str]) -> list[str]:
    """Return the words with the last of several paths as the output, if none is named and nothing is there yet.

    Raises ConfigError if something is there: it may be meant as an input, and must not be lost.
    """
    paths = [word for word in words if "=" not in word]
    sources = len(paths) + any(word.startswith("data_path=") for word in words)
    if not paths or sources < 2 or any(word.startswith("output_path=") for word in words):
        return list(words)
    last = paths[-1]
    if os.path.lexists(last):
        raise ConfigError(
            f"output_path is missing; to write over {last}, which is there already, type output_path={last} "
            "overwrite=true"
        )
    if glob.has_magic(last) or last == "-":
        return list(words)
    return [f"output_path={word}" if word is last else word for word in words]


def _view(arguments: argparse.Namespace) -> None:
    from papermage_core.cli._data_view import view

    options, reader, _ = _read(View, arguments)
    say(view(options, reader))


if __name__ == "__main__":
    raise SystemExit(main())
