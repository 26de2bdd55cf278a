"""``papermage-evaluate``: score a checkpoint on labelled documents."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import attrs

from papermage_core.cli._options import extension_choice, options_help, read_options, reader_choice
from papermage_core.cli._shell import command_parser, run, say
from papermage_core.data.readers import expand_paths
from papermage_core.errors import ConfigError
from papermage_core.files import check_output
from papermage_core.plugin.spec import option

__all__ = ["main"]

_PROG = "papermage-evaluate"


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: Path = option(help="the checkpoint folder")
    data_path: tuple[Path, ...] = option(help="labelled documents")
    label_field: tuple[str, ...] = option(
        (), help="layers that hold the gold, all it was trained for or some; none: all"
    )
    entity_name: str | None = option(None, help="layer of the units; none: as in training")
    context_name: str | None = option(None, help="layer of the contexts; none: as in training")
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    accelerator: str = option("auto", help="the GPU where there is one, or as named", choices=("auto", "cpu", "gpu"))
    errors_path: Path | None = option(None, help="write every mistake here, a JSON line each")
    overwrite: bool = option(False, help="replace the file of errors_path that is there already")
    reader: str | None = option(
        None, help="document reader; none: by the ending of each file; its options as reader.key=value"
    )
    extensions: tuple[str, ...] = option((), help="extensions to call, in order")
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(_PROG, __doc__.split(": ", 1)[1].capitalize(), epilog=options_help(Options))
    parser.usage = f"{_PROG} [flags] model_name_or_path=FOLDER data_path=FILE key=value..."
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    arguments, overrides = parser.parse_known_args(argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    options, options_of = read_options(Options, overrides)
    from papermage_core.plugin.manager import Plugins

    plugins = Plugins(options.plugins_path)
    reader = reader_choice(options, options_of)
    if options.errors_path is not None:
        if options.errors_path == Path("-"):
            raise ConfigError("errors_path=-: standard output is for the scores; name a file")
        documents = expand_paths(options.data_path, reader=reader)
        check_output(
            options.errors_path,
            option="errors_path",
            inputs=[*documents, *options.data_path, options.model_name_or_path],
            endings=(".jsonl",),
            overwrite=options.overwrite,
        )
        options.errors_path.parent.mkdir(parents=True, exist_ok=True)
    from papermage_core.checkpoint import read_blueprint
    from papermage_core.training.evaluate import evaluate_checkpoint
    from papermage_core.training.record import write_errors

    read_blueprint(options.model_name_or_path, plugins).encoder.tune_process()
    found = evaluate_checkpoint(
        options.model_name_or_path,
        options.data_path,
        reader=reader,
        label_fields=options.label_field,
        entity_name=options.entity_name,
        context_name=options.context_name,
        batch_size=options.batch_size,
        accelerator=options.accelerator,
        plugins=plugins,
        extensions=extension_choice(options, options_of).load(),
    )
    if options.errors_path is not None:
        write_errors(options.errors_path, found.evaluation)
    scores = found.evaluation.scores
    say(json.dumps(scores.to_json(), indent=2, ensure_ascii=False) if arguments.json else scores.table())


if __name__ == "__main__":
    raise SystemExit(main())
