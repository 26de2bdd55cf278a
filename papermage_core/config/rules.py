"""Rules between the options of a run, beyond each one's type and range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from papermage_core.config.errors import invalid
from papermage_core.config.given import Given
from papermage_core.config.lightning_rules import lightning_errors
from papermage_core.config.monitor import Monitor, is_figure
from papermage_core.config.several import several_errors
from papermage_core.config.sources import has_weight
from papermage_core.config.start import start_errors
from papermage_core.plugin.manager import Plugins

__all__ = ["rule_errors"]


def rule_errors(own: Mapping[str, Any], lightning: Mapping[str, Any], given: Mapping[str, Given]) -> list[str]:
    """Return the errors of options that are well-formed each; those that were not read are not looked at."""
    return [
        *_label_errors(own, given),
        *_path_errors(own, given),
        *_schedule_errors(own, lightning, given),
        *_patience_errors(own, lightning),
        *_rate_errors(own, lightning),
        *_monitor_errors(own, lightning, given),
        *lightning_errors(lightning, given),
        *_logging_errors(own, lightning),
        *several_errors(own, lightning, given),
        *_mode_errors(own),
        *_folder_errors(own),
        *start_errors(own, given),
    ]


def _label_errors(own: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    if "label_field" not in own:
        return
    labels, item = own["label_field"], given["label_field"]
    if not labels or not all(labels):
        yield invalid("label_field", item.value, item.source, "the names of one layer or several, none of them empty")
    for name in sorted({label for label in labels if labels.count(label) > 1}):
        yield invalid("label_field", item.value, item.source, f"each name once, {name!r} is there twice")
    if "O" in labels:
        yield invalid("label_field", item.value, item.source, "a name other than 'O', which stands for no label")
    if own.get("entity_name") in labels and not own.get("label_attribute"):
        expected = f"layers of what is to be found; {own['entity_name']!r} are the units themselves (entity_name)"
        yield invalid("label_field", item.value, item.source, expected)


def _path_errors(own: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    if "data_path" in own and not own["data_path"]:
        item = given["data_path"]
        yield invalid("data_path", item.value, item.source, "one path or several")
    weights = [source.weight for source in own.get("data_path", ())]
    if own.get("mode") == "eval" and set(weights) - {1.0}:
        item = given["data_path"]
        yield invalid("data_path", item.value, item.source, "paths without weights with mode=eval: all are scored once")
    elif weights and not any(weights):
        item = given["data_path"]
        yield invalid("data_path", item.value, item.source, "a weight above 0 for a path, to train on")
    for name in ("val_data_path", "test_data_path"):
        if any(has_weight(str(path)) for path in own.get(name, ())):
            item = given[name]
            yield invalid(name, item.value, item.source, "paths without weights, which only training data have")


def _schedule_errors(own: Mapping[str, Any], lightning: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    if own.get("warmup_steps", 0) > 1 and own["warmup_steps"] % 1:
        item = given["warmup_steps"]
        yield invalid("warmup_steps", item.value, item.source, "a share up to 1, or above it a whole number of steps")
    if own.get("max_epochs") == 0:
        yield invalid("max_epochs", 0, given["max_epochs"].source, "a whole number at least 1, or -1 for no limit")
    if own.get("max_epochs") == -1 and lightning.get("max_steps", -1) == -1 and not lightning.get("max_time"):
        yield "max_epochs=-1 would train without end: give max_steps or max_time as well"


def _patience_errors(own: Mapping[str, Any], lightning: Mapping[str, Any]) -> Iterator[str]:
    """Yield why training would not stop early: nothing is validated, or nothing is logged."""
    if not own.get("patience"):
        return
    if own.get("val_split") == 0 and not own.get("val_data_path"):
        yield "patience needs something to validate on: give val_data_path, or a val_split above 0"
    if lightning.get("limit_val_batches") == 0:
        yield "patience needs something to validate on, and limit_val_batches=0 leaves nothing: give one of them"
    every, last = lightning.get("check_val_every_n_epoch"), own.get("max_epochs", -1)
    if every and 0 < last < every:
        yield f"patience needs a validation, and check_val_every_n_epoch={every} has none in max_epochs={last}"
    if lightning.get("barebones"):
        yield "patience needs the logged scores, and barebones=true logs nothing: give one of them"


def _rate_errors(own: Mapping[str, Any], lightning: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not go with a search for the learning rate."""
    if not own.get("find_learning_rate"):
        return
    given = [name for name in ("learning_rate", "head_learning_rate") if own.get(name) is not None]
    if given:
        yield f"find_learning_rate=true and {given[0]}={own[given[0]]:g}: give one of the two"
    if str(lightning.get("devices", 1)) not in ("1", "auto") or lightning.get("num_nodes", 1) != 1:
        yield "find_learning_rate=true looks for it in one process: find it with devices=1, then give learning_rate"


def _monitor_errors(own: Mapping[str, Any], lightning: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    """Yield why no best model could be chosen. Labels that are taken from the data are known once it is read."""
    if not {"monitor", "label_field"} <= own.keys() or own["monitor"] == "f1":  # the default suits any run
        return
    name, monitor = "monitor", Monitor(own["monitor"])
    labels = own["label_field"] if own.get("label_attribute") is None else [monitor.label or ""]
    metrics = Plugins(own.get("plugins_path") or ())
    known = [component.name for component in metrics.components("metric")]
    is_metric = not is_figure(monitor.name) and bool(metrics.named("metric", monitor.name))
    if not is_metric and (expectation := monitor.error(labels, known)) is not None:
        yield invalid(name, monitor.name, given[name].source, expectation)
    if (own.get("val_split") == 0 and not own.get("val_data_path")) or lightning.get("limit_val_batches") == 0:
        yield f"monitor={monitor.name} needs something to validate on: give val_data_path, or a val_split above 0"
    if monitor.name == "loss" and lightning.get("barebones"):
        yield "monitor=loss needs the logged loss, and barebones=true logs nothing: give one of them"


def _logging_errors(own: Mapping[str, Any], lightning: Mapping[str, Any]) -> Iterator[str]:
    if lightning.get("barebones"):
        named = [name for name in ("wandb", "tensorboard", "mlflow") if own.get(name)]
        named += ["logger"] if lightning.get("logger") is True else []
        yield from (f"{name}=true logs the run, and barebones=true logs nothing: give one of them" for name in named)


def _mode_errors(own: Mapping[str, Any]) -> Iterator[str]:
    if own.get("mode") == "eval" and own.get("model_name_or_path") is None and "model_name_or_path" in own:
        yield "mode=eval needs model_name_or_path, the folder of the checkpoint to evaluate"


def _folder_errors(own: Mapping[str, Any]) -> Iterator[str]:
    if own.get("resume") in (True, "auto") and own.get("overwrite"):
        yield "resume goes on with the run that is there, and overwrite replaces it: give one of them"
