"""``papermage-data adjudicate``: several annotators' files → one gold, and what is to be decided."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.cli._data.shared import Labelled, as_json, labelling, read, said_once
from papermage_core.cli._shell import say
from papermage_core.errors import ConfigError, counted
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.config.labelling import Labelling
    from papermage_core.document import Document
    from papermage_core.evaluation.adjudication import Adjudication

__all__ = ["Adjudicate", "run"]

_SHOWN = 10


@attrs.frozen(kw_only=True, slots=False)
class Adjudicate(Labelled):
    """Options of ``adjudicate``."""

    output_path: Path | None = option(None, help="file or folder for the gold: what most annotators marked alike")
    documents_path: Path | None = option(
        None, help="file or folder for an annotation tool: documents with a layer disputed"
    )
    writer: str | None = option(None, help="document writer of documents_path; its options as writer.key=value")
    overwrite: bool = option(False, help="replace what is there already")


def run(arguments: argparse.Namespace) -> None:
    """Count votes, and write what most agree on and what they do not."""
    from papermage_core.config.labelling import Labelling
    from papermage_core.config.writers import writer_for
    from papermage_core.data.readers import check_read_again, expand_paths
    from papermage_core.data.writers import write_documents
    from papermage_core.evaluation.adjudication import Adjudication
    from papermage_core.files import check_output
    from papermage_core.plugin.manager import Plugins

    options, reader, options_of = read(Adjudicate, arguments)
    how = labelling(options, options_of)
    processors = how.pop("processors")
    check_read_again(expand_paths(options.data_path, reader=reader), "adjudicate")
    fields = Labelling(**how)
    if options.output_path is not None and options.output_path == options.documents_path:
        raise ConfigError(f"documents_path={options.documents_path}: output_path names it, too")
    inputs, plugins = options.data_path, Plugins(options.plugins_path)
    targets: list[tuple[Path, Any, bool]] = []
    for path, writer, of_writer, is_disputed in (
        (options.output_path, None, {}, False),
        (options.documents_path, options.writer, options_of("writer"), True),
    ):
        if path is not None:
            if path == Path("-"):
                raise ConfigError("standard output is for the counts; name a file")
            config = writer_for(path, writer, of_writer, plugins)
            check_output(path, inputs=inputs, overwrite=options.overwrite, folder=config.target == "folder")
            targets.append((path, config, is_disputed))
    found = Adjudication([Path(path) for path in options.data_path], fields, reader, processors)
    to_decide = [record for each in found.documents() for record in each.records("decide")]
    told = [found.summary(), *_first(to_decide)]
    for path, config, is_disputed in targets:
        documents = _documents(found, fields, is_disputed=is_disputed)
        with said_once(str(path)):
            written = write_documents(documents, path, config, overwrite=options.overwrite, inputs=inputs)
        told.append(f"{path}: {written}")
    if arguments.json:
        facts = {"annotators": found.annotators, "alpha": found.alpha.value, **found.counts, "to_decide": to_decide}
        say(as_json(facts))
    else:
        say("\n".join(told))


def _documents(found: Adjudication, fields: Labelling, *, is_disputed: bool) -> Iterator[Document]:
    for each in found.documents():
        if not is_disputed:
            yield each.gold(fields)
        elif each.is_disputed:
            yield each.disputed(fields)


def _first(records: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        f"  {each['document']}  {each['label']}  {' '.join((each['text'] or '').split())[:60]}  "
        f"{', '.join(each['by'])} of {each['of']}"
        for each in records[:_SHOWN]
    ]
    rest = len(records) - _SHOWN
    return [*lines, *([f"  and {counted(rest, 'others')}"] if rest > 0 else [])]
