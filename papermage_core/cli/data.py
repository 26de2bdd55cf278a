"""``papermage-data``: look at documents, find what is wrong with them, split and convert them."""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from papermage_core.cli._options import (
    ON_ERROR_HELP,
    options_help,
    processor_choice,
    read_options,
    reader_choice,
    skipping,
)
from papermage_core.cli._shell import (
    add_common_flags,
    check_flags,
    command_parser,
    parse_words,
    run,
    say,
    say_in_colour,
)
from papermage_core.config.given import check_lists
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import ConfigError, DataError
from papermage_core.plugin.spec import option

__all__ = ["main"]

_PROG = "papermage-data"
_PLACES = 5
_PROCESSORS = "processors that add layers, in order; their options as processors.NAME.key=value"
_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Source:
    """Options of every command: what is read."""

    data_path: tuple[str, ...] = option(help="documents: files, folders, globs, or - for standard input")
    reader: str | None = option(
        None, help="document reader; none: by the ending of each file; its options as reader.key=value"
    )
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")


@attrs.frozen(kw_only=True, slots=False)
class Reading(Source):
    """Options of the commands that can do without some of the documents."""

    on_error: str = option("raise", help=ON_ERROR_HELP, choices=("raise", "skip"))


@attrs.frozen(kw_only=True, slots=False)
class Labelled(Source):
    """Options of the commands that look at labels; named as for ``papermage-train``."""

    label_field: tuple[str, ...] = option((), help="layers that hold the gold entities")
    entity_name: str = option("tokens", help="layer of the units that get a label")
    context_name: str = option("pages", help="layer of what the encoder looks at together")
    label_attribute: str | None = option(None, help="take labels from this key of the entities' metadata")
    processors: tuple[str, ...] = option((), help=_PROCESSORS)


@attrs.frozen(kw_only=True)
class Stats(Labelled, Reading):
    """Options of ``stats``."""

    output_path: Path | None = option(None, help="write a page of HTML, with histograms, instead of the text")
    overwrite: bool = option(False, help="replace the page if it is there already")


@attrs.frozen(kw_only=True)
class Check(Labelled):
    """Options of ``check``."""

    data_path: tuple[str, ...] = option(
        (), help="documents: files, folders, globs, or - for standard input; may be left out with recipe"
    )
    label_scheme: str = option("bio", help="label scheme whose limits count")
    val_data_path: tuple[str, ...] = option((), help="documents to validate on: those like one of training are told")
    test_data_path: tuple[str, ...] = option((), help="documents to test on, likewise")
    encoder: str | None = option(
        None, help="context encoder whose windows are counted; its options as encoder.key=value"
    )
    stride: int = option(32, help="units by which the windows of a long context overlap", ge=0)
    output_path: Path | None = option(None, help="write every place here, a JSON line each, as it is found")
    overwrite: bool = option(False, help="replace this file if it is there already")
    recipe: Path | None = option(None, help="say which layers the stages of a recipe read, make, and do not find")


@attrs.frozen(kw_only=True)
class Publish:
    """Options of ``publish``."""

    recipe: Path = option(help="the recipe: its file, or its folder")
    output_path: Path = option(help="folder to write, with the recipe and all that it needs")
    overwrite: bool = option(False, help="replace what is there already")
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")


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


@attrs.frozen(kw_only=True)
class Sample(Reading):
    """Options of ``sample``."""

    output_path: str = option(help="file or folder to write; - for standard output; or a last PATH that is new")
    n: int = option(50, help="how many documents", ge=1)
    by: str | None = option(None, help="a share of every value of this key of documents' metadata, such as journal")
    label_field: tuple[str, ...] = option((), help="a share of every set of these layers that documents have marked")
    model_name_or_path: Path | None = option(
        None, help="checkpoint: those that it is least sure of, to label them next"
    )
    seed: int = option(470, help="another seed, another sample", ge=0)
    writer: str | None = option(
        None, help="document writer; none: by the ending of output_path; its options as writer.key=value"
    )
    processors: tuple[str, ...] = option((), help=_PROCESSORS)
    overwrite: bool = option(False, help="replace what is there already")


@attrs.frozen(kw_only=True)
class Convert(Reading):
    """Options of ``convert``."""

    output_path: str = option(
        help="file to write, compressed as its name says; - for standard output; or a last PATH that is new"
    )
    writer: str | None = option(
        None, help="document writer; none: by the ending of output_path; its options as writer.key=value"
    )
    records: str | None = option(
        None, help="write records, nested entities put together: bib_entry(author[given,family],title,date)"
    )
    processors: tuple[str, ...] = option((), help=_PROCESSORS)
    overwrite: bool = option(False, help="replace what is there already")


@attrs.frozen(kw_only=True)
class Merge:
    """Options of ``merge``."""

    data_path: tuple[str, ...] = option(help="all parts: files or globs, such as part-*.jsonl")
    output_path: str = option(help="file or folder to write; - for standard output; or a last PATH that is new")
    writer: str | None = option(
        None, help="document writer; none: by the ending of output_path; its options as writer.key=value"
    )
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")
    overwrite: bool = option(False, help="replace what is there already")


@attrs.frozen(kw_only=True)
class View(Labelled, Reading):
    """Options of ``view``."""

    document: str | None = option(None, help="its number, counted from 0, or its id; none: the first, or all on a page")
    context: int | None = option(None, help="show this context only, counted from 0; none: the whole document", ge=0)
    colour: str = option("auto", help="auto: on a terminal", choices=("auto", "always", "never"))
    compare: tuple[str, ...] = option((), help="layers of predictions, to be held against the others")
    output_path: Path | None = option(
        None, help="write a page of HTML, which opens in any browser, in place of the text of one document"
    )
    overwrite: bool = option(False, help="replace the page if it is there already")


OPTIONS = {
    "check": Check,
    "stats": Stats,
    "split": Split,
    "sample": Sample,
    "convert": Convert,
    "merge": Merge,
    "publish": Publish,
    "view": View,
}
"""What can be typed as ``key=value``, by command."""
Options = TypeVar("Options", bound=Source)


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
        ("check", _check, "list everything that is wrong or odd, with its place"),
        ("stats", _stats, "count documents, units, contexts, labels and lengths"),
        ("split", _split, "deal whole documents out to files, by a seed"),
        ("sample", _sample, "take some documents: a share of every kind, or those that a model is least sure of"),
        ("convert", _convert, "write what any reader reads as any writer writes it"),
        ("merge", _merge, "put the parts together that papermage-predict shard=i/n wrote"),
        ("publish", _publish, "write a recipe and copies of its checkpoints into one folder"),
        ("view", _view, "show documents with their labels marked, on the terminal or on a page of HTML"),
    ):
        _add_command(commands, name, OPTIONS[name], body, text)
    _add_audit(commands)
    _add_cache(commands)
    return parser


def _add_audit(commands: Any) -> None:
    text = "rank gold that may be wrong: what models of folds doubt in the documents that they did not see"
    parser: argparse.ArgumentParser = commands.add_parser(
        "audit",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog="options, each typed as key=value:\n"
        "  output_path=none                   folder for audit.jsonl and audit.html; none: audit in that of the run\n"
        "  documents_path=none                file or folder for an annotation tool: documents with a layer audit\n"
        "  writer=none                        document writer of documents_path; its options as writer.key=value\n"
        "  share=0.05                         how many suspects go there and are counted, as a share of the gold\n"
        "and all of papermage-train; folds=5 head=crf unless given",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage=f"{_PROG} audit [flags] data_path=FILE label_field=LAYER key=value...",
    )
    add_common_flags(parser)
    for action in parser._actions:
        if action.dest in ("debug", "quiet"):
            action.default = argparse.SUPPRESS
    parser.add_argument("-c", "--config", action="append", type=Path, default=[], help="YAML file of options")
    parser.add_argument("words", nargs="*", metavar="key=value", help="options")
    parser.set_defaults(body=_audit)


def _add_cache(commands: Any) -> None:
    text = "list, or clear, the documents and examples that runs keep for the next"
    parser: argparse.ArgumentParser = commands.add_parser(
        "cache", help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    add_common_flags(parser)
    for action in parser._actions:
        if action.dest in ("debug", "quiet"):
            action.default = argparse.SUPPRESS
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("what", choices=("list", "clear"), help="list shows size, date of last use, and files")
    parser.set_defaults(body=_cache)


def _add_command(
    commands: Any, name: str, options: type[Any], body: Callable[[argparse.Namespace], Any], text: str
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
    if name == "check":
        parser.add_argument("--strict", action="store_true", help="exit code 3 also for what costs F1, or misleads it")
        parser.add_argument("--all", action="store_true", help=f"show every place, not {_PLACES} of each kind")
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
    from papermage_core.config.structure import nest, structure
    from papermage_core.data.checking import check
    from papermage_core.plugin.manager import Plugins

    options, reader, options_of = _read(Check, arguments)
    everything = arguments.all or arguments.json
    if options.recipe is not None:
        return _check_recipe(options, options_of, reader, arguments)
    if not options.data_path:
        raise ConfigError(
            "data_path is missing: documents: files, folders, globs, or - for standard input. Type data_path=..."
        )
    plugins = Plugins(options.plugins_path)
    encoder = None
    if options.encoder is not None:
        config_class = plugins.config_class("context_encoder", options.encoder)
        own = nest(options_of("encoder"))
        encoder = structure(config_class, own, key="encoder", name=options.encoder)
        encoder.check(stride=options.stride)
    with _places_file(options, reader) as told:
        found = check(
            options.data_path,
            **_labelling(options, options_of),
            val_data_path=options.val_data_path,
            test_data_path=options.test_data_path,
            label_scheme=options.label_scheme,
            encoder=encoder,
            encoder_name=options.encoder or "",
            stride=options.stride,
            reader=reader,
            plugins=plugins,
            keep=None if everything else _PLACES,
            told=told,
        )
    say(_as_json(found.to_json()) if arguments.json else str(found))
    if found.is_shortened:
        _log.info("--all shows every place")
    if not options.label_field and not found.error_count:
        _log.info("label_field=NAME,NAME looks at labels, too; papermage-data stats lists the layers")
    is_bad = found.error_count or (arguments.strict and (found.fatal() or found.costs()))
    return DataError.exit_code if is_bad else 0


@contextlib.contextmanager
def _places_file(options: Check, reader: ReaderChoice) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Yield what writes each place to the file of ``output_path``, None without one."""
    if options.output_path is None:
        yield None
        return
    from papermage_core.data.readers import expand_paths
    from papermage_core.files import check_output, whole_file

    given = [*options.data_path, *options.val_data_path, *options.test_data_path]
    inputs: list[str | Path] = [*expand_paths(given, reader=reader), *given]
    check_output(options.output_path, inputs=inputs, endings=(".jsonl",), overwrite=options.overwrite)
    with whole_file(options.output_path) as file:

        def tell(place: dict[str, Any]) -> None:
            file.write(json.dumps(place, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

        yield tell


def _check_recipe(
    options: Check, options_of: Callable[[str], dict[str, Any]], reader: ReaderChoice, arguments: argparse.Namespace
) -> int:
    from papermage_core.data.processors import processed
    from papermage_core.data.readers import iter_documents
    from papermage_core.prediction.recipe import Recipe
    from papermage_core.prediction.recipe_check import RecipeFindings, check_recipe

    assert options.recipe is not None
    if options.label_field:
        raise ConfigError("label_field: the labels of documents are not looked at with recipe; check them without it")
    recipe = Recipe.from_yaml(options.recipe, plugins_path=options.plugins_path)
    found = RecipeFindings(recipe, None if arguments.all or arguments.json else _PLACES)
    if options.data_path:
        reader = reader if options.reader is not None or options_of("reader") else recipe.config.reader
        documents = iter_documents(options.data_path, reader=reader, on_error=found.add)
        check_recipe(recipe, processed(documents, processor_choice(options, options_of)), findings=found)
    say(_as_json(found.to_json()) if arguments.json else str(found))
    return DataError.exit_code if found.error_count else 0


def _publish(arguments: argparse.Namespace) -> None:
    from papermage_core.prediction.recipe import Recipe

    paths = [word for word in arguments.words if "=" not in word]
    named = [f"{name}={path}" for name, path in zip(("recipe", "output_path"), paths, strict=False)]
    if len(paths) > len(named):
        raise ConfigError(f"{paths[2]}: expected a recipe and one folder to write")
    options, _ = read_options(Publish, [*(word for word in arguments.words if "=" in word), *named])
    recipe = Recipe.from_yaml(options.recipe, plugins_path=options.plugins_path)
    folder = recipe.save(options.output_path, overwrite=options.overwrite)
    facts = {"output_path": str(folder), "stages": [stage.name for stage in recipe.stages]}
    say(_as_json(facts) if arguments.json else f"{folder}: {len(recipe.stages)} stages, and all that they need")


def _stats(arguments: argparse.Namespace) -> None:
    from papermage_core.data.statistics import stats

    options, reader, options_of = _read(Stats, arguments)
    if options.output_path is not None:
        from papermage_core.data.readers import expand_paths
        from papermage_core.files import check_output

        inputs: list[str | Path] = [*expand_paths(options.data_path, reader=reader), *options.data_path]
        check_output(options.output_path, inputs=inputs, endings=(".html",), overwrite=options.overwrite)
    with skipping(options.on_error) as on_error:
        found = stats(options.data_path, **_labelling(options, options_of), reader=reader, on_error=on_error)
    if options.output_path is None:
        say(_as_json(found.to_json()) if arguments.json else str(found))
        return
    from papermage_core.evaluation.stats_page import write_stats

    write_stats(options.output_path, found, f"Statistics of {', '.join(map(str, options.data_path))}")
    say(str(options.output_path))


def _split(arguments: argparse.Namespace) -> None:
    from papermage_core.data.splitting import split

    options, reader, _ = _read(Split, arguments)
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
        say(_as_json({str(path): documents for path, documents in written.items()}))
    else:
        say("\n".join(f"{path}: {documents} documents" for path, documents in written.items()))


def _sample(arguments: argparse.Namespace) -> None:
    from papermage_core.config.writers import writer_for
    from papermage_core.data.readers import expand_paths
    from papermage_core.data.sampling import least_sure, sample, write_sample
    from papermage_core.files import check_output
    from papermage_core.plugin.manager import Plugins

    arguments.words = _with_output_path(arguments.words)
    options, reader, options_of = _read(Sample, arguments)
    if options.model_name_or_path is not None and (options.by or options.label_field):
        raise ConfigError("model_name_or_path chooses the documents itself: leave out by and label_field")
    files = expand_paths(options.data_path, reader=reader)
    plugins = Plugins(options.plugins_path)
    writer = writer_for(Path(options.output_path), options.writer, options_of("writer"), plugins)
    check_output(
        options.output_path,
        inputs=[*files, *options.data_path],
        overwrite=options.overwrite,
        folder=writer.target == "folder",
    )
    processors = processor_choice(options, options_of)
    with skipping(options.on_error) as on_error, _said_here("papermage_core.data.writers"):
        given: dict[str, Any] = {
            "reader": reader,
            "processors": processors,
            "writer": writer,
            "overwrite": options.overwrite,
        }
        if options.model_name_or_path is None:
            written = sample(
                options.data_path,
                options.output_path,
                options.n,
                by=options.by,
                label_field=options.label_field,
                seed=options.seed,
                on_error=on_error,
                **given,
            )
        else:
            from papermage_core.data.readers import iter_documents
            from papermage_core.prediction import EntityClassificationPredictor
            from papermage_core.prediction.uncertain import sureness

            model = options.model_name_or_path
            predictor = EntityClassificationPredictor.from_pretrained(
                model, plugins_path=options.plugins_path, processors=processors
            )
            read = (located.document for located in iter_documents(files, reader=reader, on_error=on_error))
            chosen = least_sure(sureness(predictor, read), options.n)
            again = None if on_error is None else (lambda error: None)
            written = write_sample(files, options.output_path, chosen, on_error=again, **given)
    if options.output_path == "-":
        return
    told = {"output_path": options.output_path, **attrs.asdict(written)}
    say(json.dumps(told, ensure_ascii=False) if arguments.json else f"{options.output_path}: {written}")


def _convert(arguments: argparse.Namespace) -> None:
    from papermage_core.config.writers import writer_for
    from papermage_core.data.converting import convert
    from papermage_core.plugin.manager import Plugins

    arguments.words = _with_output_path(arguments.words)
    options, reader, options_of = _read(Convert, arguments)
    plugins, path = Plugins(options.plugins_path), Path(options.output_path)
    writer: Any = options.writer
    if options.records is not None:
        writer = writer_for(path, options.writer, options_of("writer"), plugins, records=options.records)
    with skipping(options.on_error) as on_error, _said_here("papermage_core.data.writers"):
        written = convert(
            options.data_path,
            options.output_path,
            reader=reader,
            writer=writer,
            writer_options=options_of("writer"),
            processors=processor_choice(options, options_of),
            plugins=plugins,
            on_error=on_error,
            overwrite=options.overwrite,
        )
    if options.output_path == "-":
        return
    if arguments.json:
        say(json.dumps({"output_path": options.output_path, **attrs.asdict(written)}, ensure_ascii=False))
    else:
        say(f"{options.output_path}: {written}")


@contextlib.contextmanager
def _said_here(name: str) -> Iterator[None]:
    """Keep silent a logger whose warnings are part of the result that is printed."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _merge(arguments: argparse.Namespace) -> None:
    from papermage_core.config.writers import writer_for
    from papermage_core.data.shards import merge_shards, parts_of
    from papermage_core.plugin.manager import Plugins

    words = _with_output_path(arguments.words)
    paths = [word for word in words if "=" not in word]
    given = [f"data_path={','.join(paths)}"] if paths else []
    options, options_of = read_options(Merge, [*given, *(word for word in words if "=" in word)])
    path, plugins = Path(options.output_path), Plugins(options.plugins_path)
    with _said_here("papermage_core.data.writers"):
        writer = writer_for(path, options.writer, options_of("writer"), plugins)
        written = merge_shards(parts_of(options.data_path), options.output_path, writer, overwrite=options.overwrite)
    if options.output_path == "-":
        return
    told = {"output_path": options.output_path, **attrs.asdict(written)}
    say(json.dumps(told, ensure_ascii=False) if arguments.json else f"{options.output_path}: {written}")


def _with_output_path(words: Sequence[str]) -> list[str]:
    """Return the words with the last of several paths as the output, if none is named and nothing is there yet.

    A last ``-`` is standard output.

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
    if glob.has_magic(last):
        return list(words)
    at = len(words) - 1 - list(words)[::-1].index(last)  # of "- -", the second
    return [f"output_path={word}" if i == at else word for i, word in enumerate(words)]


@attrs.frozen(kw_only=True)
class AuditOptions:
    """Options of ``audit`` beside those of training."""

    output_path: Path | None = option(None, help="folder for audit.jsonl and audit.html")
    documents_path: Path | None = option(None, help="file or folder for an annotation tool")
    writer: str | None = option(None, help="document writer of documents_path; its options as writer.key=value")
    share: float = option(0.05, help="how many suspects go there, as a share of the gold", gt=0, le=1)


def _audit(arguments: argparse.Namespace) -> None:
    from papermage_core.config import load_config
    from papermage_core.config.writers import writer_for
    from papermage_core.files import check_output
    from papermage_core.plugin.manager import Plugins

    own = {field.name for field in attrs.fields(AuditOptions)}
    mine = [word for word in arguments.words if word.partition("=")[0].partition(".")[0] in own]
    given = [word for word in arguments.words if word not in mine]
    keys = {word.partition("=")[0] for word in given}
    defaults = [word for word in ("folds=5", "head=crf") if not arguments.config and word.partition("=")[0] not in keys]
    options, options_of = read_options(AuditOptions, mine)
    config = load_config(arguments.config, [*given, *defaults])
    components = config.components()
    config.check_paths()
    writer = None
    if options.documents_path is not None:
        plugins = Plugins(config.plugins_path)
        writer = writer_for(options.documents_path, options.writer, options_of("writer"), plugins)
        is_folder = writer.target == "folder"
        inputs = [*map(str, config.data_path)]
        check_output(options.documents_path, option="documents_path", inputs=inputs, overwrite=config.overwrite,
                     folder=is_folder)  # fmt: skip
    from papermage_core.training.audit import audit

    components.encoder.tune_process()
    found = audit(config, components)
    folder = options.output_path or config.run_folder().expanduser() / "audit"
    found.write(folder, f"Audit of {', '.join(config.label_field)}")
    most = max(1, round(options.share * found.gold))
    told = [found.summary(most), f"all      {folder / 'audit.jsonl'}", f"browser  {folder / 'audit.html'}"]
    if options.documents_path is not None:
        written = found.write_documents(
            str(options.documents_path), most, writer=writer, overwrite=config.overwrite, inputs=list(config.data_path)
        )
        told.append(f"to mend  {options.documents_path}: {written}")
    say("\n".join(told))


def _cache(arguments: argparse.Namespace) -> None:
    from papermage_core.config.naming import cache_folder
    from papermage_core.data.cache import cache_clear, cache_list

    folder = cache_folder()
    if arguments.what == "clear":
        freed = cache_clear(folder)
        say(
            json.dumps({"folder": str(folder), "freed": freed})
            if arguments.json
            else f"{_size(freed)} freed in {folder}"
        )
        return
    entries = cache_list(folder)
    if arguments.json:
        say(json.dumps([entry.to_json() for entry in entries], indent=2, ensure_ascii=False))
        return
    lines = [
        f"{entry.kind:9} {_size(entry.size):>9}  {entry.used:%Y-%m-%d %H:%M}  {', '.join(entry.made_of)}"
        for entry in entries
    ]
    say("\n".join([*lines, f"{_size(sum(entry.size for entry in entries))} in {folder}"]))


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _view(arguments: argparse.Namespace) -> None:
    from papermage_core.data.viewing import view, view_page
    from papermage_core.plugin.manager import Plugins

    options, reader, options_of = _read(View, arguments)
    if options.output_path is not None:
        if options.context is not None:
            raise ConfigError("context= is for the terminal: a page shows whole documents")
        with skipping(options.on_error) as on_error:
            written = view_page(
                options.data_path,
                options.output_path,
                options.document,
                options.label_field,
                compare=options.compare,
                entity_name=options.entity_name,
                label_attribute=options.label_attribute,
                reader=reader,
                processors=processor_choice(options, options_of),
                plugins=Plugins(options.plugins_path),
                on_error=on_error,
                overwrite=options.overwrite,
            )
        return None if str(options.output_path) == "-" else say(f"{options.output_path}: {written}")
    with skipping(options.on_error) as on_error:
        shown = view(
            options.data_path,
            options.document or "0",
            **_labelling(options, options_of),
            compare=options.compare,
            context=options.context,
            reader=reader,
            on_error=on_error,
            colour=_in_colour(options.colour),
        )
    return say_in_colour(shown)


def _in_colour(choice: str) -> bool:
    if choice == "auto":
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return choice == "always"


def _labelling(options: Labelled, options_of: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return {
        "label_field": options.label_field,
        "entity_name": options.entity_name,
        "context_name": options.context_name,
        "label_attribute": options.label_attribute,
        "processors": processor_choice(options, options_of),
    }


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    raise SystemExit(main())
