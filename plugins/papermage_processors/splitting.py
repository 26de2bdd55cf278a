"""Text → sentences, by rules made for scientific prose."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["sentence_spans"]

_CLOSING = "\"'\u2019\u201d\u00bb)\\]}"
_BORDER = re.compile(
    r"\n[^\S\n]*\n\s*|\f\s*|[\u3002\uff01\uff1f]+"
    rf"|(?<![.?!\u2026])(?P<mark>[.?!\u2026]+)(?P<closing>[{_CLOSING}]*)(?=\s)"  # a run of marks is looked at once
)
_BLANKS = re.compile(r"\s*")
_WORD = re.compile(r"[^\s()\[\]{}\"\u201c]+\Z")
_NEXT = re.compile(r"\s*([\"'\u2018\u201c\u00ab(\[{]*)(\S*)")
_OPENINGS, _CLOSINGS = "([{", ")]}"
_LONGEST = 400
"""Characters within which a bracket is looked for that closes what a sentence opened."""

_NEVER = frozenset(
    """
    fig figs eq eqs eqn eqns ref refs no nos vol vols pp ed eds dr drs prof mr mrs ms st cf vs viz
    ca approx resp sec sect sects tab tabs ch chap app suppl supp dept univ var subsp ssp ser op
    ibid jan feb mar apr jun jul aug sep sept oct nov dec et gen col art nr str thm lem prop def cor
    i.e e.g i.v i.p i.m s.c w.r.t a.k.a tel ext est avg
    """.split()  # noqa: SIM905  # lists of words read best as they are
)
"""Abbreviations after which a sentence goes on."""
_STARTERS = frozenset(
    """
    The This These That Those We It In On At As A An To For From By With Our Their There Here
    However Thus Therefore Moreover Furthermore Finally First Second Although While When If Since
    Because After Before During Both Such Each All Some Most Many Several Results Conclusions
    Methods Background Discussion Using Note They He She Its His Her One Two Another Other Further
    Indeed Interestingly Importantly Consistent Similarly Additionally Subsequently Consequently
    Hence Next Then Under Among Between
    """.split()  # noqa: SIM905
)
"""Words that begin a sentence, after an abbreviation that may end one."""


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence, white space around it left out.

    A blank line and a form feed end one; a mark does, if what stands around it says so; a line break does not.

    >>> text = "As in Fig. 3 (p < 0.05; cf. Smith et al. 2010). E. coli grew at 37.5 C. Then p53 fell. mRNA rose."
    >>> [text[start:end] for start, end in sentence_spans(text)]
    ['As in Fig. 3 (p < 0.05; cf. Smith et al. 2010).', 'E. coli grew at 37.5 C.', 'Then p53 fell.', 'mRNA rose.']
    """
    start = _after_blanks(text, 0)
    for found in _BORDER.finditer(text):
        if found["mark"] is None or _ends(text, start, found):
            stop = found.end() if found[0].strip() else found.start()
            if span := _trimmed(text, start, stop):
                yield span
            start = _after_blanks(text, stop)
    if span := _trimmed(text, start, len(text)):
        yield span


def _after_blanks(text: str, at: int) -> int:
    """Return where the white space at a place ends."""
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # it matches anything


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int] | None:
    whole = text[start:stop]
    inner = whole.strip()
    start += len(whole) - len(whole.lstrip())
    return (start, start + len(inner)) if inner else None


def _ends(text: str, start: int, found: re.Match[str]) -> bool:
    """Whether the mark found ends the sentence whose first word begins at ``start``."""
    opening, following = _NEXT.match(text, found.end()).groups()  # type: ignore[union-attr]  # it matches anything
    if not following:
        return not opening
    if following[0] in ".?!,;:%)]}\u2026" or not _may_begin(following, bool(opening)):
        return False
    if _in_brackets(text, start, found.start(), found["closing"]):
        return False
    if found["mark"] != ".":
        return True
    word = _WORD.search(text, max(start, found.start() - 40), found.start())
    if word is None:
        return found.start() > start
    before = _last_word(text, start, word.start()) if word.start() > start else ""
    return _ends_after(word[0], following, opening, before)


def _last_word(text: str, start: int, stop: int) -> str:
    """Return the last word before ``stop``; there is one from ``start`` on. A sentence of names may be very long."""
    size = 64
    while True:
        part = text[max(start, stop - size) : stop]
        words = part.split()
        if len(words) > 1 or stop - size <= start or (words and part[0].isspace()):
            return words[-1]
        size *= 4


def _may_begin(word: str, quoted: bool) -> bool:
    """Whether a sentence may begin with a word: capitals, digits, and names such as p53, mRNA, c-Myc, α-tubulin."""
    first = word[0]
    if not first.islower() or (quoted and word[1:] == ")"):  # (a)
        return True
    core = word.rstrip(",;:.)]}")
    return any(char.isupper() or char.isdigit() for char in core[1:6]) or first > "\u0370"


def _ends_after(word: str, following: str, opening: str, before: str) -> bool:
    """Whether a point after ``word`` ends its sentence; ``before`` is the word before it, if there is one in it."""
    bare = word.lstrip("'\u2018\u2019*\u2020~=<>+/-").rstrip()
    lower = bare.lower()
    begins = following.strip(",;:.)]}") in _STARTERS
    if (lower in _NEVER and bare != "CA") or lower.rpartition("-")[2] in ("fig", "figs"):
        return lower in ("no", "col", "est", "def", "art", "str", "cor", "prop", "mar", "et") and begins
    if lower in ("al", "etc", "inc", "ltd", "co", "corp", "sp", "spp", "p", "jr", "sr", "p.m", "a.m"):
        return begins or (lower in ("etc", "sp", "spp", "inc", "ltd") and following[0].isupper() and not opening)
    if len(bare) == 1 and bare.isalpha():
        if bare.islower() or not bare.isascii():
            return True
        initial = not before or before.endswith((",", ".")) or before[0].isupper()
        return begins or not (initial or following[0].islower() or len(following.strip(".,")) > 1)
    if "." in bare and all(len(part) <= 1 and not part.isdigit() for part in bare.split(".")):
        return begins
    return not (bare.rstrip(".").isdigit() and not before)  # "3. Results"


def _in_brackets(text: str, start: int, stop: int, closing: str) -> bool:
    """Whether the mark stands in brackets that the sentence opened and that are closed soon."""
    depth = 0
    for char in text[max(start, stop - _LONGEST) : stop] + closing:
        if char in _OPENINGS:
            depth += 1
        elif char in _CLOSINGS and depth:
            depth -= 1
    if not depth:
        return False
    for char in text[stop + 1 + len(closing) : stop + _LONGEST]:
        depth += (char in _OPENINGS) - (char in _CLOSINGS)
        if not depth:
            return True
        if char == "\f":
            return False
    return False
