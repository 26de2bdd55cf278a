"""``papermage-data stats``: counts of documents, units, contexts, labels and lengths."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs

from papermage_core.cli._data.shared import Labelled, Reading, as_json, labelling, read
from papermage_core.cli._options import skipping, tell_passed_over
from papermage_core.cli._shell import say
from papermage_core.plugin.spec import option

__all__ = ["Stats", "run"]


@attrs.frozen(kw_only=True)
class Stats(Labelled, Reading):
    """Options of ``stats``."""

    output_path: Path | None = option(None, help="write a page of HTML, with histograms, instead of the text")
    overwrite: bool = option(False, help="replace the page if it is there already")


def run(arguments: argparse.Namespace) -> None:
    """Print the counts, or write them as a page."""
    from papermage_core.data.statistics import stats

    options, reader, options_of = read(Stats, arguments)
    if options.output_path is not None:
        from papermage_core.data.readers import expand_paths
        from papermage_core.files import check_output

        inputs: list[str | Path] = [*expand_paths(options.data_path, reader=reader), *options.data_path]
        check_output(options.output_path, inputs=inputs, endings=(".html",), overwrite=options.overwrite)
    tell_passed_over(options.data_path, reader)
    with skipping(options.on_error) as on_error:
        found = stats(options.data_path, **labelling(options, options_of), reader=reader, on_error=on_error)
    if options.output_path is None:
        say(as_json(found.to_json()) if arguments.json else str(found))
        return
    from papermage_core.evaluation.stats_page import write_stats

    write_stats(options.output_path, found, f"Statistics of {', '.join(map(str, options.data_path))}")
    say(str(options.output_path))
