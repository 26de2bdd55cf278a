"""``papermage-evaluate``: score a checkpoint, or predictions in a file, on labelled documents; compare two."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.cli._options import (
    ARITHMETIC_HELP,
    ARITHMETICS,
    BACKEND_HELP,
    PLUGINS_PATH_HELP,
    READER_HELP,
    extension_choice,
    options_help,
    processor_choice,
    read_options,
    reader_choice,
)
from papermage_core.cli._shell import check_flags, command_parser, run, say
from papermage_core.config.by_label import ByLabel
from papermage_core.config.labelling import Labelling
from papermage_core.data.first_documents import check_not_empty
from papermage_core.data.readers import check_read_again, expand_paths
from papermage_core.errors import ConfigError, DataError, counted
from papermage_core.files import check_output, open_output
from papermage_core.files.hub import is_on_hub
from papermage_core.files.whole import made_folder
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.config.processors import ProcessorChoice
    from papermage_core.config.readers import ReaderChoice
    from papermage_core.evaluation import DocumentCounts, Scores
    from papermage_core.plugin.manager import Plugins

__all__ = ["main"]

_PROG = "papermage-evaluate"
_OF_RUNS = ("papermage.json", "checkpoints", "config.yaml", "last.ckpt")
"""What tells the folder of a checkpoint or a run from one of documents."""


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: Path = option(
        help="the checkpoint folder, hf:owner/name on the Hugging Face hub, or documents with predicted layers"
    )
    data_path: tuple[Path, ...] = option(help="labelled documents")
    label_field: tuple[str, ...] = option(
        (), help="layers that hold the gold, all it was trained for or some; none: all (not for a file)"
    )
    compare: Path | None = option(
        None, help="a second checkpoint or file: is it better, how sure is that, and which entities changed"
    )
    by: tuple[str, ...] = option((), help="keys of documents' metadata to give scores by, such as journal")
    entity_name: str | None = option(None, help="layer of the units; none: as in training, for a file tokens")
    context_name: str | None = option(None, help="layer of the contexts; none: as in training, for a file pages")
    label_attribute: str | None = option(None, help="for a file: take gold labels from this key of entities' metadata")
    layer_name: str | None = option(
        None, help="for a file: the predicted layer; none: predictions, else layers named as the labels"
    )
    shared: bool = option(
        False, help="for a file: score the documents that it has, too, and leave out others; no: those are an error"
    )
    train_data_path: tuple[Path, ...] = option(
        (), help="documents trained on, to give scores by how often a text was seen; none: as the checkpoint knows"
    )
    min_score: ByLabel = option(
        None,
        help="leave out entities found that are scored below; min_score.Disease=0.8: of one label; for a checkpoint",
        ge=0,
        le=1,
    )
    thresholds: bool = option(
        False, help="precision, recall and F1 by min_score, and the best one for each label; for a checkpoint"
    )
    guarantee: bool = option(
        False,
        help="fit thresholds on these documents that guarantee recall or precision, and keep them in the checkpoint",
    )
    confidence: float = option(0.95, help="of what is guaranteed; 0: on average (conformal risk control)", ge=0, lt=1)
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    accelerator: str = option("auto", help="the GPU where there is one, or as named", choices=("auto", "cpu", "gpu"))
    precision: str | None = option(None, help=ARITHMETIC_HELP, choices=ARITHMETICS)
    backend: str | None = option(None, help=BACKEND_HELP, choices=("torch", "onnx"))
    errors_path: Path | None = option(
        None, help="write every mistake here, a JSON line each; to FILE.html, a page to browse them"
    )
    documents_path: Path | None = option(None, help="write the scores of every document here, a JSON line each")
    changes_path: Path | None = option(
        None, help="with compare: write the entities that changed here, a JSON line each"
    )
    overwrite: bool = option(False, help="replace these files where they are there already")
    reader: str | None = option(None, help=READER_HELP)
    processors: tuple[str, ...] = option(
        (), help="processors that add layers to all documents first; their options as processors.NAME.key=value"
    )
    extensions: tuple[str, ...] = option((), help="extensions to call, in order")
    plugins_path: tuple[Path, ...] = option((), help=PLUGINS_PATH_HELP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize(), epilog=options_help(Options))
    parser.usage = f"{_PROG} [flags] model_name_or_path=FOLDER data_path=FILE key=value..."
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    arguments, overrides = parser.parse_known_args(argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


@attrs.frozen(eq=False)
class _Found:
    """What is told of one system."""

    scores: Scores
    documents: DocumentCounts
    names: Sequence[str]
    errors: Any
    more: dict[str, Any]
    again: Callable[[], Any] | None
    """Reads the documents once more, if that can be done."""
    entity_name: str = "tokens"
    note: str = ""
    """What is printed below the scores."""


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    check_flags(arguments, overrides)
    if recipe := next((word for word in overrides if word.startswith("recipe=")), None):
        raise ConfigError(
            f"{recipe}: what a recipe finds is scored as a file: type papermage-predict {recipe} data_path=FILE "
            f"output_path=found.jsonl overwrite=true, then {_PROG} model_name_or_path=found.jsonl data_path=FILE "
            "label_field=LAYER"
        )
    options, options_of = read_options(Options, overrides)
    from papermage_core.plugin.manager import Plugins

    plugins = Plugins(options.plugins_path)
    reader = reader_choice(options, options_of)
    _check_outputs(options, reader)
    check_not_empty(options.data_path, reader)
    processors = processor_choice(options, options_of)
    extensions = extension_choice(options, options_of)

    def evaluate(path: Path, watch: Any = None) -> _Found:
        if _holds_documents(path, reader):
            return _of_file(options, path, reader, processors, seen, watch)
        return _of_checkpoint(options, path, reader, processors, plugins, extensions.load(), seen, watch)

    if options.guarantee:
        say(_guarantees(options, reader, processors, plugins, extensions.load(), as_json=arguments.json))
        return
    seen = _seen(options, reader, processors, plugins)
    from papermage_core.data.spans import SpanTable

    table = SpanTable()
    wanted = None if options.compare is None else (lambda text, gold, predicted: table.append(predicted))
    found = evaluate(options.model_name_or_path, wanted)
    comparison = None
    if options.compare is not None:
        comparison = _compared(options, found, evaluate, table)
    if options.errors_path is not None:
        _write_errors(options.errors_path, found, f"{options.model_name_or_path} on {options.data_path[0].name}")
    if options.documents_path is not None:
        rows = found.documents.rows(found.names)
        _write(options.documents_path, (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    if arguments.json:
        more = {} if comparison is None else {"comparison": comparison.to_json()}
        say(json.dumps({**found.scores.to_json(), **found.more, **more}, indent=2, ensure_ascii=False))
    else:
        tables = [found.scores.table(), found.note, "" if comparison is None else comparison.table()]
        say("\n\n".join(filter(None, tables)))


def _compared(options: Options, first: _Found, evaluate: Callable[[Path, Any], _Found], table: Any) -> Any:
    from papermage_core.evaluation import compare, document_changes

    counts: Counter[str] = Counter()
    place = -1
    lines: list[bytes] = []

    def watch(text: Any, gold: Any, predicted: Any) -> None:
        nonlocal place
        place += 1
        if place >= len(table):
            return
        for change in document_changes(gold, table[place], predicted, text):
            counts[change.kind] += 1
            if options.changes_path is not None:
                lines.append(json.dumps(change.to_json(), ensure_ascii=False).encode() + b"\n")

    assert options.compare is not None
    second = evaluate(options.compare, watch)
    if second.documents.documents != first.documents.documents:
        raise DataError(
            f"the two were scored on {first.documents.documents} and {second.documents.documents} documents of "
            "data_path: they cannot be compared",
            path=options.compare,
        )
    if options.changes_path is not None:
        _write(options.changes_path, lines)
    return compare(first.documents, second.documents, counts)


def _of_file(options: Options, path: Path, reader: ReaderChoice, processors: Any, seen: Any, watch: Any) -> _Found:
    from papermage_core.data.corpus import parse_documents
    from papermage_core.data.issues import Issues
    from papermage_core.data.source import DocumentSource
    from papermage_core.evaluation import evaluate_files
    from papermage_core.plugin.spec import ContextNeeds

    if not options.label_field:
        raise ConfigError(f"label_field is missing: {path} is no checkpoint, which would name the layers of gold")
    labelling = _labelling(options)
    found = evaluate_files(
        options.data_path,
        path,
        labelling,
        layer_name=options.layer_name,
        reader=reader,
        processors=processors,
        by=options.by,
        seen=seen,
        watch=watch,
        shared=options.shared,
    )
    more = {"units": found.units.to_json(), "absent": found.absent}
    source = DocumentSource(options.data_path, reader, processors=processors)

    def again() -> Iterator[Any]:
        return parse_documents(source, labelling, ContextNeeds(), Issues(), keep=True)

    readable = again if source.is_readable_twice else None
    kappa = "" if found.units.kappa is None else f", Cohen's kappa {found.units.kappa:.3f}"
    note = f"single {labelling.entity_name}: {100 * found.units.accuracy:.1f} % alike{kappa}"
    if found.absent:
        note += f"\n{counted(found.absent, 'documents', 'are')} left out: there are no predictions for them"
    return _Found(found.scores, found.documents, found.names, found.errors, more, readable, labelling.entity_name, note)


def _of_checkpoint(
    options: Options,
    path: Path,
    reader: ReaderChoice,
    processors: ProcessorChoice,
    plugins: Plugins,
    extensions: Any,
    seen: Any,
    watch: Any,
) -> _Found:
    from papermage_core.checkpoint import read_blueprint
    from papermage_core.training.evaluate import evaluate_checkpoint

    read_blueprint(path, plugins).encoder.tune_process()
    how: dict[str, Any] = {"backend": options.backend, "precision": options.precision}
    checkpoint = evaluate_checkpoint(
        path,
        options.data_path,
        reader=reader,
        processors=processors,
        label_fields=options.label_field,
        entity_name=options.entity_name,
        context_name=options.context_name,
        batch_size=options.batch_size,
        min_score=options.min_score,
        accelerator=options.accelerator,
        plugins=plugins,
        extensions=extensions,
        by=options.by,
        seen=seen,
        watch=watch,
        **how,
    )
    found = checkpoint.evaluation
    assert found.names is not None
    more = {
        "units": None if found.units is None else found.units.to_json(),
        "calibration": found.calibration,
    }
    note = ""
    if options.thresholds and found.thresholds is not None:
        more["thresholds"] = found.thresholds.to_json()
        note = found.thresholds.table()
    name = checkpoint.blueprint.labelling.entity_name
    return _Found(found.scores, found.documents, found.names, found.errors, more, checkpoint.documents, name, note)


def _guarantees(
    options: Options,
    reader: ReaderChoice,
    processors: ProcessorChoice,
    plugins: Plugins,
    extensions: Any,
    *,
    as_json: bool,
) -> str:
    if is_on_hub(options.model_name_or_path) or _holds_documents(options.model_name_or_path, reader):
        raise ConfigError("guarantee=true: the thresholds are kept in a checkpoint; expected its folder")
    from papermage_core.checkpoint import read_blueprint
    from papermage_core.training.evaluate import fit_guarantees

    read_blueprint(options.model_name_or_path, plugins).encoder.tune_process()
    how: dict[str, Any] = {"backend": options.backend, "precision": options.precision}
    found = fit_guarantees(
        options.model_name_or_path,
        options.data_path,
        confidence=options.confidence or None,
        reader=reader,
        processors=processors,
        entity_name=options.entity_name,
        context_name=options.context_name,
        batch_size=options.batch_size,
        accelerator=options.accelerator,
        plugins=plugins,
        extensions=extensions,
        **how,
    )
    return json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else found.table()


def _seen(
    options: Options, reader: ReaderChoice, processors: ProcessorChoice, plugins: Plugins
) -> Callable[[str], int] | None:
    """Return how often a text is an entity in the documents trained on, where those are given."""
    if not options.train_data_path:
        return None
    from papermage_core.data.corpus import parse_documents
    from papermage_core.data.issues import Issues
    from papermage_core.data.source import DocumentSource
    from papermage_core.evaluation import Profile
    from papermage_core.plugin.spec import ContextNeeds

    if _holds_documents(options.model_name_or_path, reader):
        labelling = _labelling(options)
        source = DocumentSource(options.train_data_path, reader, processors=processors)
    else:
        from papermage_core.checkpoint import read_blueprint

        blueprint = read_blueprint(options.model_name_or_path, plugins)
        labelling = blueprint.reading(options.entity_name, options.context_name).labelling
        source = DocumentSource(options.train_data_path, reader, (), blueprint.processors, processors)
    return Profile.of(parse_documents(source, labelling, ContextNeeds(), Issues())).count


def _holds_documents(path: Path, reader: ReaderChoice) -> bool:
    """Whether predictions are read here: a file, or a folder of documents, not of a checkpoint or run."""
    if not path.is_dir() or any((path / name).exists() for name in _OF_RUNS) or any(path.glob("*/checkpoints")):
        return path.is_file()
    try:
        return bool(expand_paths([path], reader=reader))
    except DataError:
        return False


def _labelling(options: Options) -> Labelling:
    """Return what is gold in a file, which does not say it."""
    return Labelling(
        label_field=options.label_field,
        entity_name=options.entity_name or "tokens",
        context_name=options.context_name or "pages",
        label_attribute=options.label_attribute,
    )


def _check_outputs(options: Options, reader: ReaderChoice) -> None:
    not_scored = (
        "label_field",
        "min_score",
        "thresholds",
        "compare",
        "by",
        "train_data_path",
        "errors_path",
        "documents_path",
        "changes_path",
    )
    if options.guarantee and (
        given := [name for name in not_scored if getattr(options, name) not in (None, (), False)]
    ):
        raise ConfigError(f"guarantee=true fits thresholds and scores nothing: leave out {', '.join(given)}")
    if options.thresholds and _holds_documents(options.model_name_or_path, reader):
        raise ConfigError("thresholds=true is for a checkpoint, which scores what it finds; expected its folder")
    if options.thresholds and options.min_score is not None:
        raise ConfigError("thresholds=true tries every min_score: leave out min_score")
    models = [options.model_name_or_path, *([] if options.compare is None else [options.compare])]
    of_file = [name for name in ("layer_name", "label_attribute", "shared") if getattr(options, name)]
    if options.min_score is not None and any(_holds_documents(path, reader) for path in models):
        raise ConfigError("min_score is for a checkpoint, which scores what it finds; give it to papermage-predict")
    if of_file and not any(_holds_documents(path, reader) for path in models):
        raise ConfigError(
            f"{', '.join(of_file)}: for a file of predictions; a checkpoint knows where its gold is. Leave it out"
        )
    if options.changes_path is not None and options.compare is None:
        raise ConfigError("changes_path: give compare=, what to compare with, as well")
    documents = expand_paths(options.data_path, reader=reader)
    if options.guarantee or options.compare is not None:
        check_read_again(documents, "guarantee=true" if options.guarantee else "compare")
    inputs = [*documents, *options.data_path, options.model_name_or_path, *options.train_data_path]
    inputs += [] if options.compare is None else [options.compare]
    taken: list[Path] = []
    for name in ("errors_path", "documents_path", "changes_path"):
        path = getattr(options, name)
        if path is None:
            continue
        if path == Path("-"):
            raise ConfigError(f"{name}=-: standard output is for the scores; name a file")
        if path in taken:
            raise ConfigError(f"{name}={path}: another option names this file, too")
        taken.append(path)
        endings = (".jsonl", ".html") if name == "errors_path" else (".jsonl",)
        check_output(path, option=name, inputs=inputs, endings=endings, overwrite=options.overwrite)


def _write_errors(path: Path, found: _Found, title: str) -> None:
    if path.suffix != ".html":
        _write(path, found.errors.lines())
        return
    from papermage_core.evaluation import write_error_page

    with made_folder(path.parent):
        write_error_page(
            path,
            found.errors,
            title=title,
            documents=found.again,
            entity_name=found.entity_name,
            labels=found.scores.per_label,
        )


def _write(path: Path, lines: Any) -> None:
    with open_output(path) as file:
        file.writelines(lines)


if __name__ == "__main__":
    raise SystemExit(main())
