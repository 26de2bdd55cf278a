"""The model card: what a checkpoint says of itself to whoever finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from papermage_core.evaluation.run import RunSummary
from papermage_core.evaluation.scores import Counts, Scores
from papermage_core.terminal import printable

__all__ = ["model_card"]

_FRONT_MATTER = """\
---
library_name: papermage_core
pipeline_tag: token-classification
tags:
- scientific-documents
---"""

_USE = """\
```python
from papermage_core.prediction import EntityClassificationPredictor

predictor = EntityClassificationPredictor.from_pretrained("this folder")
entities = predictor.predict(doc=doc)
```"""


def model_card(run: RunSummary) -> str:
    """Return the card as Markdown with the front matter that model hubs read."""
    parts = [
        _FRONT_MATTER,
        f"# {_text(run.title)}",
        f"Finds {_listed(run.labels)} in scientific documents: one prediction for each entity of the layer "
        f"{_code(run.entity_name)}, read together within {_code(run.context_name)}. Trained with papermage_core.",
        _USE,
        *(_scores(split, scores) for split, scores in run.scores.items()),
        _calibration(run),
        _facts(
            "Training data", {f"{split}: {name}": n for split, each in run.data.items() for name, n in each.items()}
        ),
        _facts("Components", run.components),
        _facts("Versions", run.versions),
        _notes(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scores(split: str, scores: Scores) -> str:
    head = "| | precision | recall | F1 | gold |\n|---|---:|---:|---:|---:|"
    rows = [_row(_text(label), counts) for label, counts in scores.per_label.items()]
    rows.append(_row("**all (micro)**", scores.micro))
    rows += [_row(_text(name.replace("_", " ")), counts) for name, counts in scores.subsets.items()]
    table = "\n".join([head, *rows])
    return (
        f"## Scores on {_text(split)}\n\nAn entity is right if its label and both ends are, in percent, over "
        f"{scores.documents} documents.\n\n{table}"
    )


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
    line = " ".join(printable(text).split())
    plain = "".join(_OF_HTML.get(character, character) for character in _SPECIAL.sub(_escaped, line))
    return _OF_LINKS.sub(lambda found: f"&#{ord(found[0])};", plain)


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdecimal() else f"\\{found[0]}"


def _code(text: str) -> str:
    """Return ``text`` as Markdown's code, on one line."""
    line = " ".join(printable(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if line.strip("`") == line else f"{fence} {line} {fence}"
