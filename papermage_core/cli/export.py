"""``papermage-export``: a checkpoint as an ONNX graph, and whether it finds the same."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core.cli._options import PLUGINS_PATH_HELP, READER_HELP, options_help, read_options, reader_choice
from papermage_core.cli._shell import check_flags, command_parser, run, say
from papermage_core.errors import ConfigError
from papermage_core.plugin.spec import option

__all__ = ["main"]

_PROG = "papermage-export"
_EXAMPLES = """\
examples:
  papermage-export RUN/checkpoints exported
  papermage-export RUN/checkpoints exported precision=int8 data_path=test.jsonl
  papermage-export RUN/checkpoints --agreement data_path=test.jsonl
  papermage-predict model_name_or_path=exported data_path=papers/ output_path=found.jsonl
"""


@attrs.frozen(kw_only=True)
class Options:
    """What can be typed as ``key=value``."""

    model_name_or_path: Path | None = option(None, help="the checkpoint folder; the first word will do")
    output_path: Path | None = option(None, help="the folder to write; the second word will do")
    precision: str = option(
        "fp32",
        help="of the graph: fp32, int8 (smaller, faster on many processors), or auto for one of each",
        choices=("fp32", "int8", "auto"),
    )
    data_path: tuple[Path, ...] = option((), help="documents to compare on: does it find what the checkpoint finds?")
    batch_size: int | None = option(None, help="windows in a batch of these; none: the encoder's own", ge=1)
    reader: str | None = option(None, help=READER_HELP)
    overwrite: bool = option(False, help="replace an export that is there already")
    num_threads: int | None = option(
        None, help="threads of torch and ONNX Runtime; none: as torch decides", ge=1, le=4096
    )
    plugins_path: tuple[Path, ...] = option((), help=PLUGINS_PATH_HELP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    epilog = f"{options_help(Options)}\n\n{_EXAMPLES}"
    parser = command_parser(_PROG, "Write a checkpoint whose encoder is an ONNX graph.", epilog=epilog)
    parser.usage = (
        f"{_PROG} [flags] CHECKPOINT OUTPUT [key=value...]\n"
        f"       {_PROG} [flags] CHECKPOINT --agreement data_path=FILE"
    )
    parser.add_argument(
        "--agreement", action="store_true", help="write nothing: compare all backends and precisions on data_path"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    arguments, words = parser.parse_known_args(argv)
    return run(lambda: _body(arguments, words), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    check_flags(arguments, words)
    plain = [word for word in words if "=" not in word and not word.startswith("-")]
    given = [word for word in words if word not in plain]
    names = ("model_name_or_path", "output_path")
    if len(plain) > len(names):
        raise ConfigError(f"expected a checkpoint and a folder to write, got {', '.join(plain)}")
    given += [f"{name}={word}" for name, word in zip(names, plain, strict=False)]
    options, options_of = read_options(Options, given)
    if options.model_name_or_path is None:
        raise ConfigError(f"the checkpoint is missing: type {_PROG} CHECKPOINT OUTPUT")
    if arguments.agreement and options.output_path is not None:
        raise ConfigError("--agreement compares and writes nothing: leave out the folder to write, or --agreement")
    if not arguments.agreement and options.output_path is None:
        raise ConfigError(f"the folder to write is missing: type {_PROG} CHECKPOINT OUTPUT")
    if arguments.agreement and not options.data_path:
        raise ConfigError("data_path is missing: the documents to compare on")
    reader = reader_choice(options, options_of)
    from papermage_core.prediction.export import agreement, export_checkpoint

    if options.num_threads is not None:
        import torch

        torch.set_num_threads(options.num_threads)
    source, common = options.model_name_or_path, {"plugins_path": options.plugins_path}
    if options.output_path is not None:
        precision: Any = options.precision
        export_checkpoint(source, options.output_path, precision, overwrite=options.overwrite, **common)
    if options.data_path:
        report = agreement(
            source, options.data_path, options.output_path, reader=reader, batch_size=options.batch_size, **common
        )
        say(json.dumps(report.to_json(), indent=2) if arguments.json else report.table())


if __name__ == "__main__":
    raise SystemExit(main())
