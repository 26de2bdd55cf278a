"""``papermage-data sample``: some documents, a share of every kind or those that a model is least sure of."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.cli._data.shared import Reading, read, said_once, say_written, with_output_path
from papermage_core.cli._options import PROCESSORS_HELP, WRITER_HELP, processor_choice, skipping, tell_passed_over
from papermage_core.errors import ConfigError
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.config.processors import ProcessorChoice
    from papermage_core.config.readers import ReaderChoice
    from papermage_core.data.readers import OnError

__all__ = ["Sample", "run"]


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
    writer: str | None = option(None, help=WRITER_HELP)
    processors: tuple[str, ...] = option((), help=PROCESSORS_HELP)
    overwrite: bool = option(False, help="replace what is there already")


def run(arguments: argparse.Namespace) -> None:
    """Write some of the documents."""
    from papermage_core.config.writers import writer_for
    from papermage_core.data.readers import check_read_again, expand_paths
    from papermage_core.data.sampling import sample, write_sample
    from papermage_core.files import check_output
    from papermage_core.plugin.manager import Plugins

    arguments.words = with_output_path(arguments.words)
    options, reader, options_of = read(Sample, arguments)
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
    given: dict[str, Any] = {"reader": reader, "processors": processors, "writer": writer}
    given["overwrite"] = options.overwrite
    tell_passed_over(options.data_path, reader, files)
    with skipping(options.on_error) as on_error, said_once(options.output_path):
        given["on_refused"] = on_error if options.on_error == "skip" else None
        if options.model_name_or_path is None:
            of_kinds: dict[str, Any] = {"by": options.by, "label_field": options.label_field, "seed": options.seed}
            written = sample(options.data_path, options.output_path, options.n, on_error=on_error, **of_kinds, **given)
        else:
            check_read_again(files, "sample")
            chosen = _least_sure(options, files, reader, processors, on_error)
            again = None if on_error is None else (lambda error: None)
            written = write_sample(files, options.output_path, chosen, on_error=again, **given)
    say_written(options.output_path, written, arguments)


def _least_sure(
    options: Sample, files: list[Path], reader: ReaderChoice, processors: ProcessorChoice, on_error: OnError | None
) -> set[int]:
    """Return the numbers of the documents that a model is least sure of."""
    from papermage_core.data.readers import iter_documents
    from papermage_core.data.sampling import least_sure
    from papermage_core.prediction import EntityClassificationPredictor
    from papermage_core.prediction.uncertain import sureness

    assert options.model_name_or_path is not None
    predictor = EntityClassificationPredictor.from_pretrained(
        options.model_name_or_path, plugins_path=options.plugins_path, processors=processors
    )
    documents = (located.document for located in iter_documents(files, reader=reader, on_error=on_error))
    return least_sure(sureness(predictor, documents), options.n)
