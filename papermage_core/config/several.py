"""One config, several runs: folds, seeds, a learning curve; and what cannot go with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from papermage_core.config.errors import invalid
from papermage_core.config.given import Given

__all__ = ["METADATA", "PREDICTIONS", "several_errors"]

METADATA = "metadata:"
PREDICTIONS = "predictions"
"""The layer of what the folds' models find."""
_FOLDS = "a whole number at least 2, or metadata:KEY, the key of documents' metadata that names their fold"


def several_errors(own: Mapping[str, Any], lightning: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    """Yield what is wrong with folds, seeds and a learning curve; what was not read is not looked at."""
    if not {"folds", "fold", "seed", "learning_curve"} <= own.keys():
        return
    yield from _fold_errors(own, given)
    seeds = own["seed"] if isinstance(own["seed"], tuple) else (own["seed"],)
    if not seeds or len(set(seeds)) < len(seeds):
        yield invalid("seed", given["seed"].value, given["seed"].source, "one seed or several, each of them once")
    several = {
        f"folds={own['folds']}": own["folds"] is not None and own["fold"] is None,
        f"seed={','.join(map(str, seeds))}": len(seeds) > 1,
        "learning_curve=true": own["learning_curve"],
    }
    for name in (name for name, is_so in several.items() if is_so):
        yield from _conflicts(name, own, lightning)


def _fold_errors(own: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    folds, fold = own["folds"], own["fold"]
    of_metadata = isinstance(folds, str) and folds.startswith(METADATA) and len(folds) > len(METADATA)
    if folds is None:
        if fold is not None:
            yield f"fold={fold} names one of the folds: give folds as well"
        return
    if not (of_metadata or (isinstance(folds, int) and folds >= 2)):
        yield invalid("folds", given["folds"].value, given["folds"].source, _FOLDS)
        return
    if fold is not None and isinstance(folds, int) and fold not in map(str, range(1, folds + 1)):
        yield invalid("fold", fold, given["fold"].source, f"a whole number from 1 to {folds}")
    shown = f"folds={folds}"
    if own.get("val_data_path"):
        yield (
            f"{shown} and val_data_path: each fold is scored on documents of data_path that it did not see, and its "
            "best model chosen by val_split of the others; give one of the two, or all documents as data_path"
        )
    if own.get("test_data_path"):
        yield f"{shown} and test_data_path: the fold that is held out is what is scored; give one of the two"
    if own["learning_curve"]:
        yield f"{shown} and learning_curve=true: give one of the two; a curve of several seeds has a spread as well"

    taken = [key for key in ("label_field", "entity_name", "context_name") if PREDICTIONS in _names(own.get(key, ()))]
    if taken and fold is None:
        yield f"{shown} writes a layer {PREDICTIONS!r}, which {taken[0]} names: rename the layer in the documents"


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _conflicts(name: str, own: Mapping[str, Any], lightning: Mapping[str, Any]) -> Iterator[str]:
    if own.get("mode") == "eval":
        yield f"{name} trains several models, and mode=eval none: give one of the two"
    if str(own.get("resume", False)) not in ("False", "auto"):
        yield (
            f"{name} and resume={own['resume']}: the runs of one command go on by themselves; type the same command "
            "again, and those that are done are not trained again"
        )
    if any(str(getattr(source, "path", source)) == "-" for source in own.get("data_path", ())):
        yield f"{name} reads data_path more than once, and standard input cannot be: write it to a file first"
    if own.get("train_share", 1) < 1 and name.startswith("learning_curve"):
        yield f"{name} and train_share={own['train_share']:g}: the curve sets the share itself; give one of the two"
    if str(lightning.get("devices", 1)) not in ("1", "auto") or lightning.get("num_nodes", 1) != 1:
        yield f"{name} trains one model after the other, each in one process: give devices=1, or the runs one by one"
