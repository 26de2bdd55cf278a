"""``papermage-train``: train an entity predictor, or evaluate one with ``mode=eval``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from papermage_core.cli._shell import check_flags, command_parser, run, say
from papermage_core.cli._signals import go_on_with, stopping_on_signals, with_advice
from papermage_core.errors import BrokenRunError, ConfigError, StoppedError, counted, nearest
from papermage_core.plugin.kinds import IN_CONFIG

if TYPE_CHECKING:
    from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
    from papermage_core.config.cascade import CascadeConfig
    from papermage_core.plugin.manager import Plugins
    from papermage_core.prediction.cascade import CascadeTrainer
    from papermage_core.training import EntityClassificationTrainer
    from papermage_core.training.trainer import RunResult

__all__ = ["main"]

_PROG = "papermage-train"
_SPLITS = {
    "test": "the test data",
    "val": "the validation data (by which the best epoch was chosen)",
    "train": "the training data (so the scores are optimistic)",
    "eval": "the data",
}
_EXAMPLES = """\
examples:
  papermage-train data_path=train.jsonl label_field=Disease
  papermage-train data_path=train.jsonl label_field=title,author head=crf head.dropout=0.2 max_epochs=20
  papermage-train -c base.yaml -c mine.yaml seed=1
  papermage-train --help head=crf
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    argv = sys.argv[1:] if argv is None else argv
    arguments, overrides = parser.parse_known_args(argv)
    arguments.again = go_on_with(_PROG, argv)
    overrides = [override for override in overrides if override != "--"]
    return run(lambda: _body(parser, arguments, overrides), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(_PROG, "Train an entity predictor over documents.", epilog=_EXAMPLES, add_help=False)
    parser.usage = f"{_PROG} [flags] [-c FILE]... key=value..."
    parser.add_argument("-h", "--help", action="store_true", help="show this help, or with key=value help on that")
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="YAML file of options; later wins",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the config, say what would run, read no data (of a cascade, the first document of each stage)",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the whole config as YAML, with where each value was given"
    )
    parser.add_argument(
        "--schema", action="store_true", help="print a JSON Schema of the config, for editors and forms"
    )
    return parser


def _body(parser: argparse.ArgumentParser, arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    if arguments.help:
        return _help(parser, overrides)
    _check_flags(parser, overrides)
    check_flags(arguments, overrides)
    if arguments.schema:
        return _schema(overrides)
    if not overrides and not arguments.config:
        raise ConfigError(f"nothing to do: type {_PROG} data_path=FILE label_field=LAYER; --help lists all options")
    return _run(arguments, overrides)


def _run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    from papermage_core.cli._dry_run import check_not_empty, check_run
    from papermage_core.cli._environment import machine_defaults
    from papermage_core.cli._options import tell_passed_over
    from papermage_core.config import load_config
    from papermage_core.config.cascade import load_cascade, names_stages
    from papermage_core.config.train import lightning_parameters, own_options

    defaults = machine_defaults([*own_options(), *lightning_parameters()])
    if names_stages(arguments.config):
        _run_cascade(load_cascade(arguments.config, overrides, defaults), arguments)
        return
    config = load_config(arguments.config, overrides, defaults)
    components = config.components()
    if arguments.print_config:
        say(config.to_yaml(components, annotated=True).rstrip())
        return
    if arguments.dry_run:
        check_run(config)
        say(_plan(config, components))
    else:
        config.check_paths()
        check_not_empty(config)
        for paths in (config.data_path, config.val_data_path, config.test_data_path):
            tell_passed_over(paths, components.reader)
        _train_or_evaluate(config, components, arguments.again)


def _train_or_evaluate(config: EntityClassificationTrainConfig, components: ComponentConfigs, again: str) -> None:
    trainers: list[EntityClassificationTrainer] = []
    parent = os.getppid()
    try:
        with stopping_on_signals(lambda why: any(trainer.stop(why) for trainer in trainers)):
            from papermage_core.checkpoint import read_blueprint
            from papermage_core.plugin.manager import Plugins
            from papermage_core.training import EntityClassificationTrainer

            if config.mode == "train":
                components.encoder.tune_process()
            elif config.model_name_or_path is not None:
                read_blueprint(config.model_name_or_path, Plugins(config.plugins_path)).encoder.tune_process()
            trainer = EntityClassificationTrainer(config, components)
            trainers.append(trainer)
            result = trainer.evaluate() if config.mode == "eval" else trainer.train()
    except BrokenRunError:
        if not trainers[0].is_first_process and os.getppid() == parent:
            return  # the first process, which started this one, tells of it
        raise
    except StoppedError as error:
        if trainers and not trainers[0].is_first_process:
            return  # with a code of its own, Lightning would kill the first
        if config.mode == "eval":
            raise
        raise with_advice(error, again) from error
    if not trainer.is_first_process:
        return
    if config.several is not None:
        _say_several(result)
        return
    say(f"Entities of the {result.split} documents, in percent:\n{result.scores.table(whole=False)}\n")
    say("\n".join(_summary(config, result)))


def _summary(config: EntityClassificationTrainConfig, result: RunResult) -> Iterator[str]:
    """Yield what was trained on what, how well and how long, where it is, and how it is used."""
    from papermage_core.training.display import duration

    facts = json.loads((result.folder / "results" / "results.json").read_text(encoding="utf-8"))
    seconds = duration(facts["seconds"])
    if config.mode == "train":
        counts = facts["counts"]["train"]
        what = ", ".join(counted(counts[name], name) for name in ("documents", "units", "entities"))
        begun = "" if config.start_from is None else f"from {config.start_from} "
        yield f"trained {config.encoder} + {config.head} {begun}on {what}: {', '.join(config.label_field)}"
        yield f"best    epoch {facts['best_epoch']} of {facts['epochs']}, scored on {_SPLITS[result.split]}"
    yield f"time    {seconds} on {counted(facts['machine']['cores'], 'cores')}"
    yield f"model   {result.checkpoint}"
    yield f"report  {result.report}"
    yield f"folder  {result.folder}"
    if config.mode == "train":
        yield ""
        files = list(map(str, config.plugins_path))
        words = [f"model_name_or_path={result.checkpoint}", *([f"plugins_path={','.join(files)}"] if files else [])]
        arguments = f"{str(result.checkpoint)!r}" + (f", plugins_path={files!r}" if files else "")
        yield "use it:"
        yield f"  papermage-predict {shlex.join(words)} data_path=FILE output_path=found.jsonl"
        yield f"  EntityClassificationPredictor.from_pretrained({arguments}).predict(doc)"


def _run_cascade(config: CascadeConfig, arguments: argparse.Namespace) -> None:
    """Train the stages of a cascade, in order."""
    from papermage_core.cli._dry_run import check_not_empty, check_run

    if arguments.print_config:
        say("\n".join(f"# stage {each.name}\n{each.config.to_yaml(annotated=True).rstrip()}" for each in config.stages))
        return
    if arguments.dry_run:
        from papermage_core.data.first_documents import check_first_documents

        config.check_paths()
        for stage in config.stages:
            check_run(stage.config)
        check_first_documents(config)
        say("The config is in order, and the first document of each stage has the layers that it reads; no more was")
        say("read. This would train, in order:")
        for number, stage in enumerate(config.stages):
            say(f"stage {stage.name}:\n{_stage_plan(stage.config, config.run_folder(number))}")
        return
    config.check_paths()
    for stage in config.stages:
        check_not_empty(stage.config)
    trainers: list[CascadeTrainer] = []
    try:
        with stopping_on_signals(lambda why: any(trainer.stop(why) for trainer in trainers)):
            from papermage_core.prediction.cascade import CascadeTrainer

            for stage in config.stages:
                stage.config.components().encoder.tune_process()
            trainers.append(CascadeTrainer(config))
            result = trainers[0].train()
    except StoppedError as error:
        raise with_advice(error, "the same command") from error
    say(f"{result.table()}\n")
    say(f"recipe  {result.recipe}\nscores  {result.folder / 'results' / 'cascade.json'}\n\nuse it:")
    say(f"  papermage-predict {shlex.join([f'recipe={result.recipe}'])} data_path=FILE output_path=found.jsonl")


def _stage_plan(config: EntityClassificationTrainConfig, folder: Path) -> str:
    config = config.replace(default_root_dir=folder)
    return _plan(config, config.components()).partition("\n")[2]


def _say_several(result: RunResult) -> None:
    from papermage_core.training.several import SeveralResult

    assert isinstance(result, SeveralResult)
    say(f"{result.table()}\n")
    for path in (result.folder / "results" / name for name in result.files):
        say(f"{path.suffix[1:]:7} {path}")
    say(f"folder  {result.folder}")


def _plan(config: EntityClassificationTrainConfig, components: ComponentConfigs) -> str:
    lines = [
        (key, f"{getattr(config, key)} of {components.provenance[kind.name]['distribution']}")
        for key, kind in IN_CONFIG.items()
        if kind.name in components.provenance
    ]
    names = ("processors", "extensions", "data_sources", "val_data_path", "test_data_path", "label_field")
    several = {name: ", ".join(map(str, getattr(config, name))) for name in names}
    lines += [("data_path" if name == "data_sources" else name, text) for name, text in several.items() if text]
    lines += [("read", f"{config.entity_name}, together in each of {config.context_name}")]
    if config.start_from is not None:
        lines.append(("start_from", str(config.start_from)))
    if config.mode == "train":
        if not config.val_data_path:
            lines.append(("val_split", f"{config.val_split:g} of the documents are set aside to validate on"))
        limits = {name: config.lightning[name] for name in ("max_steps", "max_time") if name in config.lightning}
        lines.append(("max_epochs", str(config.max_epochs)))
        lines += [(name, str(value)) for name, value in limits.items()]
    lines.append(("folder", str(config.run_folder())))
    if config.several is not None:
        lines.append(("runs", f"several, for {config.several.replace('_', ' ')}, each in a folder below"))
    what = "evaluate" if config.mode == "eval" else "train"
    plan = "\n".join(f"  {name:14} {value}" for name, value in lines)
    return f"The config is in order, and its paths are there; no data was read. This would {what}:\n{plan}"


def _help(parser: argparse.ArgumentParser, overrides: Sequence[str]) -> None:
    from papermage_core.cli._train_help import help_on, help_overview

    topics, plugins = _split_plugins(overrides)
    if topics:
        say(help_on(topics, plugins))
    else:
        flags, _, examples = parser.format_help().partition("examples:")
        say(f"{flags}{help_overview(plugins)}\n\nexamples:{examples}".rstrip())


def _schema(overrides: Sequence[str]) -> None:
    from papermage_core.config.schema import json_schema

    _, plugins = _split_plugins(overrides)
    say(json.dumps(json_schema(plugins), indent=2, ensure_ascii=False))


def _split_plugins(overrides: Sequence[str]) -> tuple[list[str], Plugins]:
    """Return the overrides without ``plugins_path=``, and the plugins with those of its files."""
    from papermage_core.config.values import read
    from papermage_core.plugin.manager import Plugins

    key = "plugins_path="
    paths = [path for o in overrides if o.startswith(key) for path in read(o[len(key) :], tuple[Path, ...])]
    return [o for o in overrides if not o.startswith(key)], Plugins(paths)


def _check_flags(parser: argparse.ArgumentParser, overrides: Sequence[str]) -> None:
    """Raise ConfigError for misspelt flags; other words with dashes are options, and reported as such later."""
    flags = [name[2:] for action in parser._actions for name in action.option_strings if name.startswith("--")]
    words = [override for override in overrides if override.startswith("--") and "=" not in override]
    hints = {word: nearest(word[2:], flags).replace("'", "'--", 1) for word in words}
    if errors := [f"{word}: unknown flag.{hint}" for word, hint in hints.items() if hint]:
        raise ConfigError(*errors)


if __name__ == "__main__":
    raise SystemExit(main())
