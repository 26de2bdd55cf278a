"""Parts of names, as they follow each other in a list of authors, put together to persons."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import attrs

from papermage_records.assembly import Value

__all__ = ["PARTS", "Person", "persons_in"]

PARTS = {
    **dict.fromkeys(("given", "forename", "firstname", "first_name", "middle", "middlename", "middle_name"), "given"),
    **dict.fromkeys(("family", "surname", "lastname", "last_name"), "family"),
    **dict.fromkeys(("particle", "prefix", "von"), "particle"),
    "suffix": "suffix",
}
"""What a part of a name is called → what it is."""
_AND = re.compile(r"(^|[\s,.])(and|et|und|y|e|og|och|en)(?=\s|$)|[&;]", re.IGNORECASE)
_COMMA = {("family", "given"): 0.5, ("family", "suffix"): 0.0, ("given", "suffix"): 0.0, ("suffix", "given"): 0.5}
"""What a comma costs between two parts of one name."""
_MOST_PARTS = 12


@attrs.frozen(eq=False)
class Person:
    """A name in its parts; or as it stands, where there are none."""

    parts: Sequence[tuple[str, Value]]
    """What each part is, and the part, in the order of the text."""
    literal: str = ""
    value: Value | None = None
    """What it stands in, where that is one value."""

    def part(self, kind: str) -> str:
        """Return the text of the parts of one kind."""
        return " ".join(value.text for each, value in self.parts if each == kind and value.text)

    @property
    def family(self) -> str:
        """The family name, with its particles."""
        return " ".join(filter(None, (self.part("particle"), self.part("family"))))


def persons_in(value: Value) -> list[Person]:
    """Return the persons in an author or a list of authors; without parts of names, the whole as it stands.

    Parts are dealt out so that each person has one family name, and what stands between two parts tells where one
    person ends: ``Smith, J., A. Jones and B. Lee`` are three.
    """
    known = ((PARTS.get(key.lower()), values) for key, values in value.fields.items())
    parts = [(kind, each) for kind, values in known if kind is not None for each in values]
    parts = [(kind, each) for kind, each in parts if each.spans and each.text]
    parts.sort(key=lambda part: part[1].spans)
    if not parts:
        return [Person([], value.text, value)] if value.text else []
    document = value.entity.layer.doc if value.entity.layer is not None else None
    text = (document.symbols if document is not None else None) or ""
    ends = [(each.spans[0][0], each.spans[-1][1]) for _, each in parts]
    gaps = [text[stop:start] for (_, stop), (start, _) in itertools.pairwise(ends)]
    return [Person(parts[a:b], value=value) for a, b in _cut([kind for kind, _ in parts], gaps)]


def _cut(kinds: Sequence[str], gaps: Sequence[str]) -> list[tuple[int, int]]:
    """Return the parts of each person, of all ways to cut the one that costs least (of equal ones the longest last)."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(kinds) + 1):
        costs = []
        for start in range(max(0, stop - _MOST_PARTS), stop):
            before = gaps[start - 1] if start else None
            costs.append((best[start][0] + _cost(kinds[start:stop], gaps[start : stop - 1], before), start))
        best.append(min(costs))
    cuts = []
    stop = len(kinds)
    while stop:
        start = best[stop][1]
        cuts.append((start, stop))
        stop = start
    return cuts[::-1]


def _cost(kinds: Sequence[str], inside: Sequence[str], before: str | None) -> float:
    """Return how unlike a person parts are, with what stands between them, and between them and the person before."""
    families = [place for place, kind in enumerate(kinds) if kind == "family"]
    # A family name of two words may come as two parts, with nothing but a space between them.
    groups = sum(place - 1 not in families or bool(inside[place - 1].strip(" -\n")) for place in families)
    cost = 10.0 * abs(groups - 1)
    given = [place for place, kind in enumerate(kinds) if kind == "given"]
    cost += 0.0 if given else 1.0
    if families and given and not (max(given) < families[0] or min(given) > families[-1]):
        cost += 4.0
    for place, gap in enumerate(inside):
        left, right = kinds[place : place + 2]
        cost += 8.0 * bool(_AND.search(gap))
        if "," in gap:
            cost += _COMMA.get((left, right), 3.0)
    if before is not None and not _AND.search(before) and "," not in before:
        cost += 2.0  # two persons with a space between
    return cost
