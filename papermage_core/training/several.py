"""Several runs of one config: the folds of a cross-validation, seeds, the points of a learning curve.

Each run has its folder below that of the config, and is an ordinary run with a config file of its own. What is done is
not done again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig, load_config
from papermage_core.data.corpus import Corpus
from papermage_core.errors import ConfigError, DataError, counted
from papermage_core.evaluation import Scores
from papermage_core.evaluation.svg import line_chart
from papermage_core.files import whole_text_file
from papermage_core.training.curve import Forecast, LearningCurve, Point
from papermage_core.training.folder import RunFolder, config_texts
from papermage_core.training.folds import check_folds, folds_of
from papermage_core.training.lightning import check_trainer
from papermage_core.training.pooled import pool, write_predictions
from papermage_core.training.prepare import Preparation, check_read_by_several
from papermage_core.training.stopping import Stopping
from papermage_core.training.trainer import EntityClassificationTrainer, RunResult

__all__ = ["SeveralResult", "going_on", "train_several"]

_log = logging.getLogger(__name__)
_SHARES = (0.25, 0.5, 0.75, 1.0)
_FIGURES = ("precision", "recall", "f1")
_LENGTH = ("max_epochs", "max_steps", "max_time", "patience")
"""Options that a run may go on with others of, but that make another of it."""
_TITLES = {"folds": "fold", "seeds": "seed", "learning_curve": "share"}


@attrs.frozen(kw_only=True)
class SeveralResult(RunResult):
    """What several runs gave; ``scores`` count the documents of all.

    ``checkpoint`` is that of the best run on the validation data, where there are any: what is tested on chooses none.
    """

    kind: Literal["learning_curve", "seeds", "folds"]
    runs: Mapping[str, RunResult]
    """Name of the fold, the seed or the share → its result."""
    documents: Mapping[str, int]
    """Name → documents that it was trained on."""
    forecasts: Sequence[Forecast] = ()
    """Of a learning curve: what more documents may give."""

    @property
    def report(self) -> Path:
        """The page to open first: of a learning curve its chart, else the report of the best run."""
        chart = self.folder / "results" / "learning_curve.html"
        return chart if self.kind == "learning_curve" else self.checkpoint.parent / "report.html"

    def __str__(self) -> str:
        mean, spread = 100 * self.mean(), 100 * self.spread()
        told = f"{self.split} F1 {mean:.1f} ± {spread:.1f} over {len(self.runs)} {self.kind}"
        if self.kind == "learning_curve":
            told = "; ".join(each.shown(max(self.documents.values())) for each in self.forecasts)
        return f"{told}\nmodel   {self.checkpoint}\nreport  {self.report}"

    @property
    def files(self) -> tuple[str, ...]:
        """What is in ``results/`` of the folder."""
        more = {"folds": ("out_of_fold.jsonl",), "learning_curve": ("learning_curve.html",)}
        return (f"{self.kind}.json", *more.get(self.kind, ()))

    def figures(self, name: str) -> list[float]:
        """Return the precision, recall or F1 of each run; of several runs in one, that of all."""
        return [float(getattr(run.scores, name)) for run in self.runs.values()]

    def mean(self, name: str = "f1") -> float:
        """Return the mean of a figure over the runs."""
        return statistics.fmean(self.figures(name))

    def spread(self, name: str = "f1") -> float:
        """Return the standard deviation of a figure over the runs (that of a sample: by n - 1)."""
        return statistics.stdev(self.figures(name)) if len(self.runs) > 1 else 0.0

    def table(self) -> str:
        """Return a table for the terminal, in percent."""
        width = max(8, *map(len, self.runs))
        head = f"{_TITLES[self.kind]:{width}} {'trained on':>11} {'P':>7} {'R':>7} {'F1':>7}"
        scored = "held-out" if self.kind == "folds" else self.split
        lines = [f"Scores of the {scored} documents, in percent:", head]
        for name, run in self.runs.items():
            figures = [100 * getattr(run.scores, figure) for figure in _FIGURES]
            lines.append(f"{name:{width}} {self.documents[name]:11} " + " ".join(f"{value:7.1f}" for value in figures))
        if self.kind == "learning_curve":
            now = max(self.documents.values())
            lines += ["", "What more documents may give, with half of the 95 % interval:"]
            return "\n".join([*lines, *(f"  {each.shown(now)}" for each in self.forecasts)])
        means, spreads = ([100 * of(figure) for figure in _FIGURES] for of in (self.mean, self.spread))
        lines.append("-" * len(head))
        lines.append(f"{'mean':{width}} {'':11} " + " ".join(f"{value:7.1f}" for value in means))
        lines.append(f"{'spread':{width}} {'':11} " + " ".join(f"{value:7.1f}" for value in spreads))
        if self.kind == "folds":
            lines += ["", "All documents, each predicted by the model that did not see it:", self.scores.table()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        runs = [
            {
                _TITLES[self.kind]: name,
                "folder": str(run.folder.relative_to(self.folder)),
                "documents": self.documents[name],
                "split": run.split,
                "scores": run.scores.to_json(),
            }
            for name, run in self.runs.items()
        ]
        content: dict[str, Any] = {"split": self.split, self.kind if self.kind != "learning_curve" else "points": runs}
        if self.kind == "learning_curve":
            return {**content, "forecasts": [each.to_json() for each in self.forecasts]}
        content["mean"] = {name: self.mean(name) for name in _FIGURES}
        content["spread"] = {name: self.spread(name) for name in _FIGURES}
        content["scores"] = self.scores.to_json()
        return content


def train_several(
    config: EntityClassificationTrainConfig, components: ComponentConfigs, stopping: Stopping | None = None
) -> SeveralResult:
    """Train each run that is not done yet; write ``results/folds.json``, ``seeds.json`` or ``learning_curve.json``.

    Folds also give ``results/out_of_fold.jsonl``: all documents, with what the model that did not see them finds.
    Raises ConfigError where the folder holds runs with other options or data, unless they are to be overwritten;
    DataError for documents that can be read once only.
    """
    config.check_paths()
    check_trainer(config)
    kind = config.several
    assert kind is not None
    check_read_by_several(config, components, kind.replace("_", " "))
    root = config.run_folder().expanduser()
    with RunFolder(root).taken():
        _check_root(root)
        corpus = Preparation.of(config, components).documents()
        if kind == "learning_curve":
            _check_curve(config, components, corpus)
        runs = _runs(config, kind, corpus, root)
        for run in filter(_is_done, runs.values()):
            _check_same(run, components, corpus)
        results: dict[str, RunResult] = {}
        for place, (name, run) in enumerate(runs.items(), start=1):
            _log.info("%s %s (%d of %d): %s", _TITLES[kind], name, place, len(runs), run.default_root_dir)
            results[name] = EntityClassificationTrainer(going_on(run), components, stopping=stopping).train()
        result = _result(root, kind, results)
        (root / "results").mkdir(exist_ok=True)
        if kind == "folds":
            _pool(config, components, corpus, runs, results)
        if kind == "learning_curve":
            result = attrs.evolve(result, forecasts=_forecasts(result))
        with whole_text_file(root / "results" / f"{kind}.json") as file:
            file.write(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    return result


def _check_root(root: Path) -> None:
    if any((root / name).exists() for name in ("checkpoints", "last.ckpt", "results/results.json")):
        raise ConfigError(f"{root} holds a run of its own, not several: choose another default_root_dir")


def _check_curve(config: EntityClassificationTrainConfig, components: ComponentConfigs, corpus: Corpus) -> None:
    """Raise DataError where the shares of so few documents are the same, or would be scored on themselves."""
    where, train, is_scored = ", ".join(map(str, config.data_path)), corpus, True
    if not config.val_data_path and not config.test_data_path:
        splits = Preparation.of(config, components).splits_of(corpus)
        train, is_scored = splits.train, splits.val is not None
    if not is_scored:
        raise DataError(
            "learning_curve=true: nothing but the documents trained on is there to score on, which tells nothing of "
            "more of them; give val_data_path or test_data_path",
            path=where,
        )
    if len(train) < len(_SHARES):
        told = counted(len(train), "documents", "are")
        raise DataError(f"learning_curve=true: {told} too few for {len(_SHARES)} shares that differ", path=where)


def _runs(
    config: EntityClassificationTrainConfig, kind: str, corpus: Corpus, root: Path
) -> dict[str, EntityClassificationTrainConfig]:
    """Return the config of each run, by name."""
    given: dict[str, Any] = {"resume": False}
    if "devices" not in config.lightning:
        given["devices"] = 1
    if kind == "folds":
        assert config.folds is not None
        names = check_folds(corpus, config.folds, config.seed)
        folders = names if all(map(_is_safe, names)) else [str(place + 1) for place in range(len(names))]
        return {
            name: config.replace(fold=name, default_root_dir=root / f"fold-{folder}", **given)
            for name, folder in zip(names, folders, strict=True)
        }
    if kind == "seeds":
        return {str(s): config.replace(seed=s, default_root_dir=root / f"seed-{s}", **given) for s in config.seeds}
    given["learning_curve"] = False
    return {
        f"{100 * share:.0f} %": config.replace(
            train_share=share, default_root_dir=root / f"share-{100 * share:.0f}", **given
        )
        for share in _SHARES
    }


def _is_safe(name: str) -> bool:
    return len(name) <= 60 and name.isascii() and all(each.isalnum() or each in "-_" for each in name)


def _is_done(config: EntityClassificationTrainConfig) -> bool:
    """Whether there is one run that came to its end, and may stay."""
    return config.several is None and not config.overwrite and RunFolder(config.run_folder()).is_done


def going_on(config: EntityClassificationTrainConfig) -> EntityClassificationTrainConfig:
    """Return the config of a run that goes on where it was stopped; what was stopped before it saved is begun again."""
    if config.several is not None or config.overwrite:
        return config
    folder = RunFolder(config.run_folder())
    return config.replace(resume="auto") if folder.is_done or folder.can_go_on else config.replace(overwrite=True)


def _check_same(config: EntityClassificationTrainConfig, components: ComponentConfigs, corpus: Corpus) -> None:
    """Raise ConfigError where the run in the folder is not the one that is wanted."""
    folder = config.run_folder()
    before = load_config([folder / "config.yaml"])
    one, other = config_texts(before, before.components()), config_texts(config, components)
    one, other = {**one, **_length(before)}, {**other, **_length(config)}
    changed = [
        f"{folder} holds a run with {key}={one.get(key, 'none')}, and {key} is {other.get(key, 'none')} now"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]
    wanted = Preparation.of(config, components).splits_of(corpus).train.content()
    if not changed and checkpoint.read_json(folder / "checkpoints").get("data_fingerprint") != wanted:
        changed = [f"{folder} holds a run on other data, or other labels"]
    if changed:
        raise ConfigError(*changed, advice="replace the runs with overwrite=true, or choose another default_root_dir")


def _length(config: EntityClassificationTrainConfig) -> dict[str, str]:
    return {name: str(getattr(config, name, config.lightning.get(name))) for name in _LENGTH}


def _result(root: Path, kind: Any, results: Mapping[str, RunResult]) -> SeveralResult:
    best = max(results.values(), key=_chosen_by)
    if kind == "learning_curve":
        *_, best = results.values()
    return SeveralResult(
        folder=root,
        checkpoint=best.checkpoint,
        split=best.split,
        scores=reduce(add, (run.scores for run in results.values())),
        kind=kind,
        runs=results,
        documents={name: _documents(run) for name, run in results.items()},
    )


def _chosen_by(run: RunResult) -> float:
    """Return the F1 by which the best of several runs is chosen."""
    scores = checkpoint.read_json(run.checkpoint).get("scores", {})
    return Scores.from_json(scores["val"]).f1 if "val" in scores else run.scores.f1


def _documents(run: RunResult) -> int:
    """Return how many documents a run was trained on, on average where it is several."""
    if isinstance(run, SeveralResult):
        return round(statistics.fmean(run.documents.values()))
    return int(
        json.loads((run.folder / "results" / "results.json").read_text(encoding="utf-8"))["counts"]["train"][
            "documents"
        ]
    )


def _pool(
    config: EntityClassificationTrainConfig,
    components: ComponentConfigs,
    corpus: Corpus,
    runs: Mapping[str, EntityClassificationTrainConfig],
    results: Mapping[str, RunResult],
) -> None:
    """Write what each fold's model finds in the documents that it did not see, and all of these as one file."""
    assert config.folds is not None
    names, part = folds_of(corpus, config.folds, config.seed)
    files = []
    for place, name in enumerate(names):
        run, result = runs[name], results[name]
        file = result.folder / "results" / "predictions.jsonl"
        if not file.is_file():
            held_out = corpus.choose(np.flatnonzero(part == place))
            write_predictions(file, result.checkpoint, held_out, run)
        files.append(file)
    pool(config.run_folder().expanduser() / "results" / "out_of_fold.jsonl", files, part)


def _forecasts(result: SeveralResult) -> list[Forecast]:
    """Return what more documents may give; draw the curve."""
    points = [
        Point(documents=result.documents[name], f1=each.scores.f1, support=each.scores.micro.gold)
        for name, run in result.runs.items()
        for each in (run.runs.values() if isinstance(run, SeveralResult) else [run])
    ]
    curve = LearningCurve(points)
    forecasts = [curve.forecast(count) for count in curve.more()]
    series = {
        "F1": [(float(point.documents), point.f1) for point in points],
        "fitted": curve.line(forecasts[-1].documents),
        "95 % from": [(float(each.documents), each.low) for each in forecasts],
        "to": [(float(each.documents), each.high) for each in forecasts],
    }
    with whole_text_file(result.folder / "results" / "learning_curve.html") as file:
        file.write("<!DOCTYPE html><meta charset=utf-8><title>Learning curve</title>")
        file.write(line_chart("F1 over documents", series, x_name="documents", y_name="F1"))
    return forecasts
