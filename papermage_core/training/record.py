"""What a run leaves in its folder beside the model: results, mistakes, the report."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.structure import unstructure
from papermage_core.data.corpus import Corpus
from papermage_core.data.issues import Issues
from papermage_core.data.source import DocumentSource, digest_of_file
from papermage_core.data.units import ParsedDocument
from papermage_core.errors import counted
from papermage_core.evaluation import (
    CalibrationSummary,
    PreviousRun,
    RunSummary,
    Scores,
    model_card,
    write_report,
)
from papermage_core.files import whole_file, whole_text_file
from papermage_core.files.hub import is_on_hub
from papermage_core.model.blueprint import Blueprint
from papermage_core.training.folder import flat
from papermage_core.training.scoring import Evaluation
from papermage_core.training.surroundings import machine, peak_memory, versions

__all__ = ["RunRecord", "SplitCounts", "files_of_run", "previous_run", "write_errors", "write_results"]

_MOST_COMPARED = 100


@attrs.frozen(eq=False, kw_only=True)
class SplitCounts:
    """How much there is in a split."""

    counts: Mapping[str, int]
    """Documents, contexts, units, entities."""
    labels: Mapping[str, int]
    """Label → gold entities."""

    @classmethod
    def of(cls, corpus: Corpus) -> SplitCounts:
        """Return the counts of a corpus."""
        return cls(counts=corpus.counts(), labels=dict(sorted(corpus.entities.items())))


@attrs.frozen(eq=False, kw_only=True)
class RunRecord:
    """All that is known of a run when it is over."""

    config: EntityClassificationTrainConfig
    blueprint: Blueprint
    counts: Mapping[str, SplitCounts]
    issues: Mapping[str, Issues]
    """Split → what was odd in it."""
    sources: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    """File of training documents → how many there are, and how often they are trained on in an epoch."""
    files: Mapping[str, str] = attrs.field(factory=dict)
    """File of documents → hash of its bytes."""
    evaluations: Mapping[str, Evaluation]
    history: Sequence[Mapping[str, float]] = ()
    calibration: CalibrationSummary | None = None
    best_epoch: int | None = None
    """The epoch, counted from 1, whose model it is."""
    git: Mapping[str, Any] | None = None
    """State of the repository of the working folder when the run began, if it was in one."""
    fingerprint: str | None = None
    """Hash of the texts and the gold of the training documents."""
    seconds: float = 0.0
    components: ComponentConfigs | None = None
    """The components' configs, whose options are told with those of the run."""
    documents: Callable[[], Iterable[ParsedDocument]] | None = None
    """Reads the documents of `split` once more, each with its `Document`."""

    @property
    def split(self) -> str:
        """The split whose scores count: test, else val, else what there is."""
        return next(name for name in ("test", "val", "train", "eval") if name in self.evaluations)

    @property
    def versions(self) -> dict[str, str]:
        """Distribution → version, of what a result may depend on: those of the components are among them."""
        return versions(source["distribution"] for source in self.blueprint.sources.values())

    def card(self) -> str:
        """Return the model card."""
        return model_card(self.summary())

    def summary(self) -> RunSummary:
        """Return the run as the report and the model card tell it."""
        issues: Counter[str] = Counter()
        for found in self.issues.values():
            issues.update(found.counts)
        errors = self.evaluations[self.split].errors
        ordered = sorted(self.evaluations, key=lambda name: name != self.split)
        encoder = None if self.components is None else self.components.encoder
        base_model = getattr(encoder, "model_name_or_path", None)
        return RunSummary(
            title=", ".join(field for task in self.blueprint.tasks for field in task.label_field),
            labels=list(self.blueprint.labels),
            components={
                kind: f"{source['name']} ({source['distribution']} {source['version']})"
                for kind, source in self.blueprint.sources.items()
            },
            config={key: _text(value) for key, value in resolved(self.config, self.components).items()},
            sources=self.config.sources,
            command=self.command,
            data={name: found.counts for name, found in self.counts.items()},
            label_counts={name: found.labels for name, found in self.counts.items()},
            issues=issues,
            history=self.history,
            scores={name: self.evaluations[name].scores for name in ordered},
            previous=self.previous(),
            units={name: found.units for name, found in self.evaluations.items() if found.units is not None},
            errors=errors,
            error_summary=errors.summary(limit=None),
            documents=self.documents,
            errors_split=self.split,
            calibration=self.calibration,
            entity_name=self.blueprint.labelling.entity_name,
            context_name=self.blueprint.labelling.context_name,
            finished=datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
            seconds=self.seconds,
            machine=f"{platform.system()} {platform.machine()}, {counted(os.cpu_count() or 1, 'cores')}",
            versions=self.versions,
            notes=self.config.notes,
            data_notes=self.config.data_notes,
            files=self.files,
            fingerprint=self.fingerprint,
            base_model=None if base_model is None else str(base_model),
        )

    @property
    def command(self) -> str:
        """What to type to repeat the run, in another folder where it left its config in its own."""
        folder = self.config.run_folder().expanduser().absolute()
        if self.config.mode == "train" and "eval" not in self.evaluations:
            return shlex.join(["papermage-train", "-c", str(folder / "config.yaml"), "default_root_dir=FOLDER"])
        model = self.config.model_name_or_path if self.config.mode == "eval" else folder / "checkpoints"
        anchored = self.config.anchored()
        values: dict[str, Any] = {"mode": "eval", "model_name_or_path": model, "data_path": anchored.data_path}
        values["label_field"] = self.config.label_field
        return shlex.join(["papermage-train", *(f"{key}={_text(value)}" for key, value in values.items())])

    def previous(self) -> PreviousRun | None:
        """Return the last run beside this one's folder that was scored on the same gold, as far as its counts tell."""
        return previous_run(self.config.run_folder().expanduser(), self.split, self.evaluations[self.split].scores)


def previous_run(folder: Path, split: str, scores: Scores) -> PreviousRun | None:
    """Return the last run in another folder beside ``folder`` that has as much gold of each label in a split."""
    gold = {label: counts.gold for label, counts in scores.per_label.items()}
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for other in folder.absolute().parent.iterdir():
            results = other / "results" / "results.json"
            if other.name != folder.name and results.is_file():
                found.append((results.stat().st_mtime, results))
    for when, results in sorted(found, reverse=True)[:_MOST_COMPARED]:
        try:
            before = json.loads(results.read_text(encoding="utf-8"))["splits"][split]["scores"]
            known = Scores.from_json(before)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if {label: counts.gold for label, counts in known.per_label.items()} == gold:
            finished = datetime.datetime.fromtimestamp(when).astimezone().isoformat(" ", "minutes")
            return PreviousRun(name=results.parents[1].name, f1=known.f1, finished=finished)
    return None


def resolved(config: EntityClassificationTrainConfig, components: ComponentConfigs | None) -> dict[str, Any]:
    """Return the value of every option by its dotted key, those of the components, too, as far as they are known."""
    values: dict[str, Any] = {**config.values(), **config.lightning}
    if components is None:
        return {**values, **config.options}
    for key, component in components.by_key().items():
        values |= dict(flat(unstructure(component), f"{key}."))
    for processor in components.processors.recipe():
        values |= dict(flat(processor["options"], f"processors.{processor['name']}."))
    return values


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def write_results(folder: Path, record: RunRecord) -> None:
    """Write ``results/results.json``, ``results/errors.jsonl`` and ``report.html``, each whole or not at all."""
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "split": record.split,
        "splits": {
            name: {
                "scores": found.scores.to_json(),
                "units": None if found.units is None else found.units.to_json(),
                "errors": found.errors.summary().to_json(),
            }
            for name, found in record.evaluations.items()
        },
        "calibration": None if record.calibration is None else record.calibration.to_json(),
        "sources": record.sources,
        "files": dict(record.files),
        "issues": {name: issues.counts for name, issues in record.issues.items()},
        "counts": {name: found.counts for name, found in record.counts.items()},
        "epochs": len(record.history),
        "best_epoch": record.best_epoch,
        "seconds": round(record.seconds, 3),
        "peak_memory_bytes": peak_memory(),
        "machine": machine(),
        "data_fingerprint": record.fingerprint,
        "git": record.git,
        "components": record.blueprint.sources,
        "versions": record.versions,
    }
    write_errors(results / "errors.jsonl", record.evaluations[record.split])
    write_report(folder / "report.html", record.summary())
    _write(results / "results.json", [json.dumps(content, indent=2, ensure_ascii=False)])  # tells that all is there


def files_of_run(config: EntityClassificationTrainConfig, components: ComponentConfigs) -> dict[str, str]:
    """Return the files of a run's documents, and what it starts from, each with a hash; pipes have none."""
    paths = (config.data_path, config.val_data_path, config.test_data_path)
    sources = [DocumentSource(each, components.reader) for each in paths if each]
    files = dict.fromkeys(file for source in sources for file in source.files)
    found = {str(file.absolute()): digest_of_file(file).hex() if file.is_file() else "" for file in files}
    start = config.start_from
    if start is not None:
        found[str(start if is_on_hub(start) else start.absolute())] = checkpoint.digest(start)
    return found


def write_errors(path: Path, evaluation: Evaluation) -> None:
    """Write every mistake, a JSON line each."""
    with whole_file(path) as file:
        file.writelines(evaluation.errors.lines())


def _write(path: Path, parts: Iterable[str]) -> None:
    with whole_text_file(path) as file:
        file.writelines(parts)
