"""Tags of a file that are unlike its others, by a slip of whoever typed them: told, and read as they stand."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from papermage_core.errors import counted
from papermage_formats.tags import OUTSIDE, form_of, label_of_tag

__all__ = ["UnlikeTags", "unlike_tags"]

_log = logging.getLogger(__name__)
_SHOWN = 5
_MOST = 2 / 3
"""The share of tags that shows how those of a file are written."""
_RARE, _RARER, _LIKE = 3, 5, 0.8
"""How often a label that is a misspelling stands at most, how much more often the other does, and how like they are."""
_FEW = 200
"""Labels that are held against each other: where there are more, they are codes, and nobody types them."""
_SIGNS = re.compile(r"[\s_.,:;/-]")


class UnlikeTags:
    """Counts the tags of a file, and warns of those that are likely slips when all are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()
        self._places: dict[str, str] = {}

    def look(self, tags: Sequence[str], place_of: Callable[[int], str]) -> None:
        """Look at the tags of a document; ``place_of`` says where one is, by its number."""
        counts = Counter(tags)
        self._counts.update(counts)
        for i in sorted(map(tags.index, counts.keys() - self._places.keys() - OUTSIDE)):
            self._places[tags[i]] = place_of(i)

    def tell(self) -> None:
        """Warn once, if there are any."""
        meant = unlike_tags(self._counts)
        found = [tag for tag in self._places if tag in meant]
        if found:
            shown = [
                f"{tag!r:.60} in {self._places[tag]}" + (f" (was {meant[tag]!r:.60} meant?)" if meant[tag] else "")
                for tag in found[:_SHOWN]
            ]
            more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            _log.warning(
                "%s: %s unlike the others of the file, each a label of its own as it stands: %s",
                *(self._path, counted(len(found), "tags", "are"), ", ".join([*shown, *more])),
            )


def unlike_tags(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the tags that are likely slips, and what each was to be; empty where nothing is near.

    They have another form than most, or their label is another one but for the case of its letters, or is rare and
    nearly spelt as one that is not.

    >>> unlike_tags({"O": 90, "B-PER": 20, "I-PER": 9, "BI-PER": 1, "B_PER": 1, "I-Per": 1, "o": 1, "B-PERS": 1})
    {'BI-PER': 'B-PER', 'B_PER': 'B-PER', 'o': 'O', 'I-Per': 'I-PER', 'B-PERS': 'B-PER'}
    >>> unlike_tags({"B-Level1": 90, "B-Level2": 1, "X": 1})
    {'X': ''}
    """
    own = {tag: count for tag, count in counts.items() if tag not in OUTSIDE}
    forms, labels = Counter[str](), Counter[str]()
    for tag, count in own.items():
        forms[form_of(tag)] += count
    form, most = forms.most_common(1)[0] if forms else ("plain", 0)
    if form == "plain" or most < _MOST * forms.total():
        odd = set[str]()
    else:
        odd = {tag for tag in own if form_of(tag) != form}
    usual = [tag for tag in own if tag not in odd]
    for tag in usual:
        labels[label_of_tag(tag)] += own[tag]
    others = ["O", *sorted(usual)] if len(labels) <= _FEW else ["O"]
    found = {tag: _meant(tag, others) for tag in own if tag in odd}
    meant = dict(_spelt(labels, form == "prefixed"))
    for tag in usual:
        label = label_of_tag(tag)
        if label in meant:
            found[tag] = tag.replace(label, meant[label])
    return found


def _meant(tag: str, others: Iterable[str]) -> str:
    """Return the tag that one of another form is nearest to; empty where none is near."""
    plain = _plain(tag) if tag != "0" else "o"
    ratios = {
        other: 1.0 if plain in (_plain(other), _plain(label_of_tag(other))) else _likeness(tag, other)
        for other in others
    }
    best = max(ratios, key=lambda other: (ratios[other], other[0] == tag[:1]))
    return best if ratios[best] >= _LIKE else ""


def _spelt(labels: Mapping[str, int], closely: bool) -> Iterator[tuple[str, str]]:
    """Yield the labels that are misspellings, each with the one that it is of."""
    alike: dict[str, str] = {}
    for label, _ in sorted(labels.items(), key=lambda each: (-each[1], each[0])):
        usual = alike.setdefault(_plain(label), label)
        if usual != label:
            yield label, usual
        elif closely and labels[label] <= _RARE and len(labels) <= _FEW:
            others = (other for other, count in labels.items() if count >= labels[label] * _RARER)
            if other := next((other for other in others if _is_near(label, other)), ""):
                yield label, other


def _is_near(label: str, other: str) -> bool:
    """Whether labels differ by a slip: not by a number, or by a letter at the end instead of another."""
    if label[:-1] == other[:-1] or re.sub(r"\d+", "", label) == re.sub(r"\d+", "", other):
        return False
    return _likeness(label, other) > _LIKE or (len(label) > 2 and sorted(label) == sorted(other))


def _likeness(tag: str, other: str) -> float:
    return SequenceMatcher(None, tag, other, autojunk=False).ratio()


def _plain(text: str) -> str:
    return _SIGNS.sub("", text.casefold())
