"""Tags ↔ stretches of tokens, for files: read in whatever scheme they are, written in the one asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["OUTSIDE", "SCHEMES", "encode_tags", "form_of", "is_tag", "label_of_tag", "tagged_stretches", "unbracketed"]

OUTSIDE = frozenset({"O", "_", "", "-X-", "<other>", "I-<other>", "B-<other>"})
SCHEMES = {
    "bio": "BBII",
    "iob1": "IIII",
    "bioes": "SBIE",
    "bilou": "UBIL",
    "io": "IIII",
    "plain": "    ",
    "grobid": "BBII",
}
"""What each scheme writes on an entity of one token, on the first, on inner ones, and on the last."""
_PREFIXED = re.compile(r"([BIESULM])-(.+)", re.DOTALL)
_BARE = frozenset("BIESULM")
"""Tags without a label, as corpora of one kind of entity have them."""
_BRACKETED = re.compile(r"<.+>", re.DOTALL)
_STARRED = re.compile(r"(?:\(([^()*]+))?\*?(\)?)")


def is_tag(value: str) -> bool:
    """Whether a value has the form of a tag.

    >>> is_tag("B-Disease"), is_tag("O"), is_tag("B"), is_tag("<date>"), is_tag("NN")
    (True, True, True, True, False)
    """
    return value in OUTSIDE or value in _BARE or bool(_PREFIXED.fullmatch(value) or _BRACKETED.fullmatch(value))


def form_of(tag: str) -> str:
    """Return how a tag is written: ``prefixed``, ``bare``, ``bracketed`` or ``plain``.

    >>> form_of("B-X"), form_of("B"), form_of("I-<x>"), form_of("b-X")
    ('prefixed', 'bare', 'bracketed', 'plain')
    """
    found = _PREFIXED.fullmatch(tag)
    if _BRACKETED.fullmatch(found[2] if found else tag):
        return "bracketed"
    return "prefixed" if found else "bare" if tag in _BARE else "plain"


def label_of_tag(tag: str) -> str:
    """Return the label in a tag: a plain one is its own.

    >>> label_of_tag("B-X"), label_of_tag("I-<x>"), label_of_tag("X")
    ('X', 'x', 'X')
    """
    return _taken_apart(tag, grobid=False)[1]


def unbracketed(tags: Sequence[str]) -> Sequence[str]:
    """Return tags as BIO where they are brackets around stars, as those of OntoNotes; others as they are.

    >>> unbracketed(["(DATE*", "*)", "*", "(GPE)"])
    ['B-DATE', 'I-DATE', 'O', 'B-GPE']
    """
    values = set(tags)
    if not any("*" in value or "(" in value for value in values) or not all(map(_STARRED.fullmatch, values - {""})):
        return tags
    found, label = list[str](), ""
    for tag in tags:
        match = _STARRED.fullmatch(tag)
        assert match is not None, "looked at above"
        begins = match[1] is not None
        label = match[1] if begins else label
        found.append(f"{'B' if begins else 'I'}-{label}" if label else "O")
        label = "" if match[2] else label
    return found


def tagged_stretches(tags: Sequence[str], borders: Iterable[int] = ()) -> list[tuple[str, int, int]]:
    """Return label, start and stop of each stretch; none goes over a border, such as that of a sentence.

    BIO, IOB1, BIOES, BILOU, IO, labels without a prefix, and GROBID's ``I-<x>`` for the first token and ``<x>`` for the
    others, need not be told apart: I, E and L go on with the same label or begin; B, S and U begin; E, L, S and U end.
    Where all tags are such letters alone, the label is empty.

    >>> tagged_stretches(["I-A", "I-A", "B-A", "O", "S-B", "E-B"])
    [('A', 0, 2), ('A', 2, 3), ('B', 4, 5), ('B', 5, 6)]
    >>> tagged_stretches(["B", "I", "B", "O"])
    [('', 0, 2), ('', 2, 3)]
    """
    values = set(tags) - OUTSIDE
    grobid = not any(value.startswith("B-") for value in values)
    bare = values <= _BARE and not values.isdisjoint("BISU")
    known = {value: (value, "") if bare else _taken_apart(value, grobid) for value in values}
    firsts = set(borders)
    found: list[tuple[str, int, int]] = []
    label, start, stop = "", 0, -1  # what is open, if stop is not -1
    for i in [i for i, tag in enumerate(tags) if tag in known]:
        prefix, own = known[tags[i]]
        if stop != i or own != label or prefix in "BSU" or i in firsts:
            if stop >= 0:
                found.append((label, start, stop))
            label, start = own, i
        stop = i + 1
        if prefix in "ELSU":
            found.append((label, start, stop))
            stop = -1
    if stop >= 0:
        found.append((label, start, stop))
    return found


def _taken_apart(tag: str, grobid: bool) -> tuple[str, str]:
    found = _PREFIXED.fullmatch(tag)
    prefix, label = found.groups() if found else ("I", tag)
    if _BRACKETED.fullmatch(label):
        return "B" if found and grobid else prefix, label[1:-1]
    return prefix, label


def _is_read(label: str, prefix: str, scheme: str) -> bool:
    tag = {"grobid": f"I-<{label}>", "plain": label}.get(scheme, f"{prefix}-{label}")
    return tagged_stretches([tag]) == [(label, 0, 1)]


def encode_tags(stretches: Sequence[tuple[str, int, int]], tokens: int, scheme: str, lost: Counter[str]) -> list[str]:
    """Return a tag for each token. Of stretches that overlap, the longest, and of these the first, are written.

    >>> encode_tags([("A", 0, 2), ("A", 2, 3)], 4, "iob1", Counter())
    ['I-A', 'I-A', 'B-A', 'O']
    """
    owner = [-1] * tokens
    for i in sorted(range(len(stretches)), key=lambda i: (stretches[i][1] - stretches[i][2], stretches[i][1], i)):
        _, start, stop = stretches[i]
        if any(taken >= 0 for taken in owner[start:stop]):
            lost["overlapping entities"] += 1
        else:
            owner[start:stop] = [i] * (stop - start)
    one, first, inner, last = tuple(SCHEMES[scheme])
    tags = ["O" if scheme != "grobid" else "<other>"] * tokens
    for i in sorted({taken for taken in owner if taken >= 0}):
        label, start, stop = stretches[i]
        touches = start > 0 and owner[start - 1] >= 0 and stretches[owner[start - 1]][0] == label
        if scheme in ("io", "plain"):
            lost["borders between entities"] += touches
        for at in range(start, stop):
            prefix = one if stop - start == 1 else first if at == start else last if at == stop - 1 else inner
            if scheme == "iob1" and at == start and touches:
                prefix = "B"
            if scheme == "grobid":
                tags[at] = f"I-<{label}>" if at == start else f"<{label}>"
            else:
                tags[at] = label if scheme == "plain" else f"{prefix}-{label}"
    written = Counter(stretches[i][0] for i in set(owner) if i >= 0)
    lost["labels that read as others"] += sum(n for label, n in written.items() if not _is_read(label, one, scheme))
    if scheme == "grobid":
        others = [i for i, tag in enumerate(tags) if tag == "<other>" and (i == 0 or tags[i - 1] != "<other>")]
        for i in others:
            tags[i] = "I-<other>"
    return tags
