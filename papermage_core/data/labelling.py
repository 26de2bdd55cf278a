"""What is labelled, and what each head learns of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import attrs

from papermage_core.config.labelling import Labelling, OverlapPolicy
from papermage_core.plugin.spec import LabelScheme

__all__ = ["Labelling", "OverlapPolicy", "Task", "alike_labels", "label_fields", "shown_label"]


@attrs.frozen(eq=False)
class Task:
    """What one head learns: label fields that share a scheme."""

    label_field: tuple[str, ...]
    scheme: LabelScheme

    @property
    def labels(self) -> Sequence[str]:
        """The labels that the head can give."""
        return self.scheme.labels


def label_fields(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of layers, which a string may hold with commas between."""
    return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else tuple(given)


def alike_labels(counts: Mapping[str, int]) -> list[str]:
    """Return labels that nobody would tell apart, with how often each is there, the most frequent first.

    They differ in case, in white space, hyphens or underscores, or in how Unicode composes a letter.

    >>> alike_labels({"Dose": 40, "dose": 2, "Dose ": 1, "Drug": 9})
    ["Dose 40, dose 2, 'Dose ' 1"]
    """
    groups: dict[str, list[str]] = {}
    for label in sorted((label for label in counts if counts[label]), key=lambda label: -counts[label]):
        plain = unicodedata.normalize("NFKC", label).casefold()
        groups.setdefault("".join(plain.replace("_", " ").replace("-", " ").split()), []).append(label)
    return [
        ", ".join(f"{shown_label(label)} {counts[label]}" for label in group)
        for group in groups.values()
        if len(group) > 1
    ]


def shown_label(label: str) -> str:
    """Return a label as it stands, or escaped where it would be taken for another one that looks the same."""
    looks = unicodedata.normalize("NFKC", " ".join(label.split()))
    return label if label == looks and label.isprintable() else ascii(label)
