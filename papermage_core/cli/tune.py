"""``papermage-tune``: search the options of a training run with Optuna."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from papermage_core.cli._shell import check_flags, command_parser, run, say
from papermage_core.cli._signals import go_on_with, stopping_on_signals, with_advice
from papermage_core.errors import ConfigError, StoppedError
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.config import EntityClassificationTrainConfig
    from papermage_core.config.given import Given
    from papermage_core.config.space import Space

__all__ = ["Options", "main"]

_PROG = "papermage-tune"
_log = logging.getLogger(__name__)
_EXAMPLES = """\
all other options are those of the runs: papermage-train --help lists them. A space in YAML:

  learning_rate: {low: 1e-4, high: 1e-2, log: true}
  encoder.dropout: {low: 0.1, high: 0.6}
  encoder.width: {low: 64, high: 256, step: 64}
  head: [linear, crf]

examples:
  papermage-tune data_path=train.jsonl label_field=Disease n_trials=30
  papermage-tune -c base.yaml space=space.yaml default_root_dir=search
  papermage-tune -c base.yaml search=learning_rate,head.dropout
"""


@attrs.frozen(kw_only=True)
class Options:
    """The options of the search itself."""

    n_trials: int = option(20, help="trials, those that are in the folder already counted in", ge=1)
    space: Path | None = option(None, help="YAML file of what to vary; none: what the components' options declare")
    search: tuple[str, ...] = option((), help="options to vary in the ranges that they declare")
    pruning: bool = option(True, help="end trials early whose validations are worse than those of most")
    storage: str | None = option(None, help="where trials are recorded, as an SQLAlchemy URL; none: in the folder")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    from papermage_core.cli._options import options_help

    parser = command_parser(
        _PROG, "Search the options of a training run.", epilog=f"{options_help(Options)}\n\n{_EXAMPLES}"
    )
    parser.usage = f"{_PROG} [flags] [-c FILE]... key=value..."
    parser.add_argument("-c", "--config", action="append", type=Path, default=[], metavar="FILE", help="YAML file")
    parser.add_argument("--dry-run", action="store_true", help="check the options, say what would be varied")
    argv = sys.argv[1:] if argv is None else argv
    arguments, overrides = parser.parse_known_args(argv)
    arguments.again = go_on_with(_PROG, argv)
    return run(lambda: _body(arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from papermage_core.cli._dry_run import check_not_empty, check_run
    from papermage_core.config.combinations import Combinations
    from papermage_core.config.space import check_tunable

    check_flags(arguments, overrides)
    options, config, space = _read(arguments.config, overrides)
    folder = _folder(config, space)
    check_tunable(config, space)
    if arguments.dry_run:
        check_run(config)
        lines = [f"  {dimension.key:24} {dimension}" for dimension in space]
        left_out = [f"  not drawn, for they do not fit: {each}" for each in Combinations.of(config, space).left_out()]
        say("\n".join(["The options are in order. This would vary:", *lines, *left_out, f"in {folder}"]))
        return
    check_not_empty(config)
    from papermage_core.training.stopping import Stopping
    from papermage_core.training.tuning import TuneOptions, tune

    config.components().encoder.tune_process()
    settings = TuneOptions(n_trials=options.n_trials, pruning=options.pruning, storage=options.storage)
    stopping = Stopping()
    try:
        with stopping_on_signals(stopping.ask):
            result = tune(config, space, folder, settings, stopping)
    except StoppedError as error:
        raise with_advice(error, arguments.again) from error
    say(f"{result.table()}\n")
    if result.best is not None:
        say(f"model   {folder / 'best' / 'checkpoints'}\nconfig  {folder / 'best.yaml'}")
    say(f"report  {folder / 'report.html'}\nfolder  {folder}")


def _read(files: Sequence[Path], overrides: Sequence[str]) -> tuple[Options, EntityClassificationTrainConfig, Space]:
    """Return the options of the search, the config of its runs, and what is varied."""
    from papermage_core.config.errors import read_given
    from papermage_core.config.given import from_file
    from papermage_core.config.load import config_of, read_layers
    from papermage_core.config.space import declared_space, read_space
    from papermage_core.plugin.options import describe_options

    described = {each.name: each for each in describe_options(Options)}
    layers, strange = read_layers(files, overrides, _defaults(described))
    if not any(layers[1:]) and not strange:
        raise ConfigError(f"nothing to do: type {_PROG} data_path=FILE label_field=LAYER; --help lists the options")
    own = {item.key: item for layer in layers for item in layer if item.key in described}
    inline = {item.key: item for layer in layers for item in layer if item.key.startswith("space.")}
    values, errors = read_given(described, own)
    rest = [[item for item in layer if item.key not in own and item.key not in inline] for layer in layers]
    config = config_of(rest, [*strange, *errors], described)
    config.components()
    options = Options(**values)
    items = [attrs.evolve(item, key=item.key.removeprefix("space.")) for item in inline.values()]
    if options.space is not None:
        items += from_file(options.space)
        if not items:
            raise ConfigError(f"space={options.space}: the file holds no option; leave space out to vary what is usual")
    if not items and not options.search:
        return options, config, declared_space(config)
    space = read_space(config, items, options.search)
    _check_not_given(space, layers)
    return options, config, space


def _defaults(described: Iterable[str]) -> list[Given]:
    from papermage_core.cli._environment import machine_defaults
    from papermage_core.config.train import lightning_parameters, own_options

    return machine_defaults([*own_options(), *lightning_parameters(), *described])


def _check_not_given(space: Space, layers: Sequence[Sequence[Given]]) -> None:
    """Raise ConfigError for options that are varied and typed as well; say which values of a file give way."""
    from papermage_core.config.given import COMMAND_LINE

    given = {item.key: item for layer in layers for item in layer}
    both = [given[dimension.key] for dimension in space if dimension.key in given]
    errors = [
        f"{item.key}={item.value} ({item.source}): it is to be varied as well; leave out one of the two"
        for item in both
        if item.source == COMMAND_LINE
    ]
    if errors:
        raise ConfigError(*errors)
    for item in both:
        _log.info("%s=%s (%s) is varied instead", item.key, item.value, item.source)


def _folder(config: EntityClassificationTrainConfig, space: Space) -> Path:
    """Return ``default_root_dir``, or a folder below the cache named for the runs and what is varied."""
    from papermage_core.config.naming import cache_folder

    if config.default_root_dir is not None:
        return config.default_root_dir.expanduser()
    varied = json.dumps({dimension.key: dimension.to_json() for dimension in space}, sort_keys=True)
    return cache_folder() / f"tune_{config.run_name()}_{hashlib.sha256(varied.encode()).hexdigest()[:8]}"


if __name__ == "__main__":
    raise SystemExit(main())
