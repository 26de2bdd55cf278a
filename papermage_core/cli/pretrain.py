"""``papermage-pretrain``: an encoder learns from documents without labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from papermage_core.cli._shell import check_flags, command_parser, run, say
from papermage_core.cli._signals import go_on_with, stopping_on_signals, with_advice
from papermage_core.errors import ConfigError, StoppedError

__all__ = ["main"]

_PROG = "papermage-pretrain"
_EXAMPLES = """\
examples:
  papermage-pretrain data_path=papers/ default_root_dir=mine
  papermage-pretrain data_path=a.jsonl,b.jsonl context_name=sentences max_epochs=10 encoder.width=128
  papermage-train data_path=train.jsonl label_field=Disease encoder.pretrained=mine/pretrained
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    from papermage_core.cli._options import options_help
    from papermage_core.config.pretrain import EncoderPretrainConfig

    epilog = f"{options_help(EncoderPretrainConfig)}\n\n{_EXAMPLES}"
    parser = command_parser(_PROG, "Have an encoder learn from documents without labels.", epilog=epilog)
    parser.usage = f"{_PROG} [flags] key=value..."
    argv = sys.argv[1:] if argv is None else argv
    arguments, overrides = parser.parse_known_args(argv)
    arguments.again = go_on_with(_PROG, argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from papermage_core.cli._environment import machine_defaults
    from papermage_core.config.pretrain import EncoderPretrainConfig
    from papermage_core.data.first_documents import check_not_empty
    from papermage_core.plugin.options import describe_options

    check_flags(arguments, overrides)
    if not overrides:
        raise ConfigError(f"nothing to do: type {_PROG} data_path=FILE; --help lists all options")
    options = [each.name for each in describe_options(EncoderPretrainConfig)]
    config = EncoderPretrainConfig.of(overrides, machine_defaults(options))
    encoder = config.encoder_config()  # a fault of the config comes before one of the data
    check_not_empty(config.data_path, config.reader_choice())
    encoder.tune_process()
    from papermage_core.training import EncoderPretrainer

    trainer = EncoderPretrainer(config)
    try:
        with stopping_on_signals(trainer.stop):
            result = trainer.pretrain()
    except StoppedError as error:
        raise with_advice(error, arguments.again) from error
    say(str(result))


if __name__ == "__main__":
    raise SystemExit(main())
