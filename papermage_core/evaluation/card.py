"""The model card: what a checkpoint says of itself to whoever finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from papermage_core.errors import counted
from papermage_core.evaluation.run import RunSummary
from papermage_core.evaluation.scores import Counts, Scores
from papermage_core.terminal import printable

__all__ = ["model_card"]

_USE = """\
```python
from papermage_core.prediction import EntityClassificationPredictor

predictor = EntityClassificationPredictor.from_pretrained("this folder")
entities = predictor.predict(doc=doc)
```

```bash
papermage-predict model_name_or_path="this folder" data_path=paper.pdf output_path=paper.html
```"""

_FEW = 10
"""Gold entities of a label below which its scores say little."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_card(run: RunSummary) -> str:
    """Return the card as Markdown with the front matter of Hugging Face's hub: its model index has the scores."""
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(run), sort_keys=False, width=1000)}---",
        f"# {_text(run.title)}",
        f"Finds {_listed(run.labels)} in scientific documents: one prediction for each entity of the layer "
        f"{_code(run.entity_name)}, read together within {_code(run.context_name)}. Trained with papermage_core"
        f"{f', {_text(run.finished)}' if run.finished else ''}.",
        f"## Use\n\n{_USE}",
        *(_scores(split, scores) for split, scores in run.scores.items()),
        _calibration(run),
        _limits(run),
        _training_data(run),
        _facts("Components", run.components),
        _config(run),
        _facts("Versions", run.versions),
        _notes(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(run: RunSummary) -> dict[str, Any]:
    """Return what the hub reads.

    See its [model card specification](https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
    """
    known: dict[str, Any] = {
        "library_name": "papermage_core",
        "pipeline_tag": "token-classification",
        "tags": ["scientific-documents", "named-entity-recognition"],
    }
    if run.base_model and _HUB_NAME.fullmatch(run.base_model) and not Path(run.base_model).exists():
        known["base_model"] = run.base_model
    results = [_result(run, split, scores) for split, scores in run.scores.items()]
    if not results:
        return known
    name = _line(run.title) or "papermage_core"
    return known | {"metrics": [*_METRICS], "model-index": [{"name": name, "results": results}]}


_METRICS = {"precision": "strict precision of entities", "recall": "strict recall", "f1": "strict F1"}


def _result(run: RunSummary, split: str, scores: Scores) -> dict[str, Any]:
    data = _line(str(run.config.get(f"{split}_data_path") or run.config.get("data_path") or split))
    return {
        "task": {"type": "token-classification", "name": "Entities in scientific documents"},
        "dataset": {
            "name": ", ".join("/".join(path.split("/")[-2:]) for path in data.split(",")),
            "type": re.sub(r"[^\w.-]+", "-", data.split(",")[0].split("/")[-1]).strip("-") or "documents",
            "split": _line(split),
        },
        "metrics": [
            {"type": metric, "value": round(getattr(scores, metric), 4), "name": name}
            for metric, name in _METRICS.items()
        ],
    }


def _scores(split: str, scores: Scores) -> str:
    head = "| | precision | recall | F1 | gold |\n|---|---:|---:|---:|---:|"
    rows = [_row(_text(label), counts) for label, counts in scores.per_label.items()]
    rows.append(_row("**all (micro)**", scores.micro))
    rows += [_row(_text(name.replace("_", " ")), counts) for name, counts in scores.subsets.items()]
    table = "\n".join([head, *rows])
    interval = ""
    if "micro" in scores.intervals:
        interval = f" F1 {100 * scores.f1:.1f}, {scores.told_interval()} (bootstrap over documents)."
    return (
        f"## Scores on {_text(split)}\n\nAn entity is right if its label and both ends are, in percent, over "
        f"{counted(scores.documents, 'documents')}.{interval}\n\n{table}"
    )


def _limits(run: RunSummary) -> str:
    """Return what is known to be weak, of the scores that count most."""
    if not run.scores:
        return ""
    split, scores = next(iter(run.scores.items()))
    few = [label for label, counts in scores.per_label.items() if counts.gold < _FEW]
    weak = [label for label, counts in scores.per_label.items() if counts.gold >= _FEW and counts.f1 < 0.5]
    lines = [
        "The scores hold for documents like those they were counted on; other journals, layouts or languages may give "
        "lower ones.",
        f"Fewer than {_FEW} entities to score on, so that their scores say little: {_listed(few)}." if few else "",
        f"F1 below 50: {_listed(weak)}." if weak else "",
        f"{sum(scores.gold_unreachable.values())} gold entities could not have been predicted (cut by a context, say)."
        if scores.gold_unreachable
        else "",
        "The scores are those on the training data, and so optimistic." if split == "train" else "",
        f"The best epoch was chosen on {split}, so that its scores are a little optimistic." if split == "val" else "",
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines if line)


def _training_data(run: RunSummary) -> str:
    counts: dict[str, object] = {f"{split}: {name}": n for split, each in run.data.items() for name, n in each.items()}
    files = {path: f"sha256 {digest}" if digest else "read once" for path, digest in run.files.items()}
    known = {"fingerprint of texts and gold": run.fingerprint} if run.fingerprint else {}
    return _facts("Training data", counts | files | known)


def _config(run: RunSummary) -> str:
    """Return every option that was given, and the others folded away."""
    if not run.config:
        return ""
    given = {key: value for key, value in run.config.items() if key in run.sources}
    others = {key: value for key, value in run.config.items() if key not in given}
    parts = ["## Configuration"]
    if run.command:
        parts.append(f"The same run again: {_code(run.command)}")
    parts += [_fenced(given)] if given else []
    parts += [f"<details><summary>Defaults</summary>\n\n{_fenced(others)}\n\n</details>"] if others else []
    return "\n\n".join(parts)


def _fenced(values: Mapping[str, object]) -> str:
    lines = [_line(f"{key}={'' if value is None else value}") for key, value in values.items()]
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    return "\n".join([fence, *lines, fence])


def _row(name: str, counts: Counts) -> str:
    figures = " | ".join(f"{100 * value:.1f}" for value in (counts.precision, counts.recall, counts.f1))
    return f"| {name} | {figures} | {counts.gold} |"


def _calibration(run: RunSummary) -> str:
    if run.calibration is None:
        return ""
    return (
        f"Scores are calibrated: expected calibration error {100 * run.calibration.error_before:.1f}% before, "
        f"{100 * run.calibration.error_after:.1f}% after, on {_text(run.calibration.split)}."
    )


def _facts(title: str, facts: Mapping[str, object]) -> str:
    if not facts:
        return ""
    return f"## {title}\n\n" + "\n".join(f"- {_text(name)}: {_text(str(value))}" for name, value in facts.items())


def _notes(run: RunSummary) -> str:
    notes = [_text(note) for note in (run.notes, run.data_notes) if note]
    return "## Notes\n\n" + "\n\n".join(notes) if notes else ""


def _listed(labels: Sequence[str]) -> str:
    names = [_code(label) for label in labels]
    if len(names) < 2:
        return names[0] if names else "entities"
    return f"{', '.join(names[:-1])} and {names[-1]}"


_SPECIAL = re.compile(
    r"[\\`*\[\]|~$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # one inside a word means nothing
    r"|^(?:[#+=-]|\d+(?=[.)]))"  # at the start of a line: headings, lists
)
_OF_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_OF_LINKS = re.compile(r"(?<=\w):(?=//)|(?<=\bwww)\.|@", re.IGNORECASE)  # which GitHub makes of bare addresses


def _text(text: str) -> str:
    """Return ``text`` on one line, to be read as it stands: nothing of it is Markdown, HTML or a link."""
    line = _line(text)
    plain = "".join(_OF_HTML.get(character, character) for character in _SPECIAL.sub(_escaped, line))
    return _OF_LINKS.sub(lambda found: f"&#{ord(found[0])};", plain)


def _line(text: str) -> str:
    return " ".join(printable(text).split())


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdecimal() else f"\\{found[0]}"


def _code(text: str) -> str:
    """Return ``text`` as Markdown's code, on one line."""
    line = _line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if line.strip("`") == line else f"{fence} {line} {fence}"
