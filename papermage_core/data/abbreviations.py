"""Short forms that a document defines: ``hypertrophic cardiomyopathy (HCM)``."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["long_forms"]

_SHORT = re.compile(r"(?=.*[A-Z])\w[\w.&/+'’-]{1,9}")
_LONGEST = 10
"""Most units of a long form that stands in brackets."""
_OPENING, _CLOSED, _CLOSING = ("(", "["), (")", "]"), ")];,"
_BREAKS = (".", ";", ":")


def long_forms(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return short form → words of its long form, for what a text defines; of several definitions, the first.

    ``words`` are the units of a document in order. A definition is a long form with the short one in brackets, or the
    other way round. Both are found as Schwartz and Hearst 2003 do, "A Simple Algorithm for Identifying Abbreviation
    Definitions in Biomedical Text", here on units: a short form is one unit, with a capital letter (A to Z).

    >>> text = "Hypertrophic cardiomyopathy ( HCM ) is common . PCR ( polymerase chain reaction ) was used ."
    >>> long_forms(text.split())
    {'HCM': ('Hypertrophic', 'cardiomyopathy'), 'PCR': ('polymerase', 'chain', 'reaction')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for place, word in enumerate(words):
        if word[:1] not in _OPENING:
            continue
        inside = _inside(words, place)
        if len(inside) == 1 and _SHORT.fullmatch(inside[0]):
            short, long = inside[0], _shortest(inside[0], _before(inside[0], words, place))
        else:
            short, long = (words[place - 1] if place else ""), ()
            if inside and _SHORT.fullmatch(short):
                long = _shortest(short, inside)
        if long:
            found.setdefault(short, long)
    return found


def _inside(words: Sequence[str], place: int) -> list[str]:
    """Return the units from the bracket that opens at a place to what closes it, or a comma; none if another opens."""
    inside: list[str] = []
    for word in (words[place][1:], *words[place + 1 : place + _LONGEST + 2]):
        if word[:1] in _OPENING:
            return []
        text = word.rstrip(_CLOSING)
        inside += [text] if text else []
        if word != text:
            return inside
    return []


def _before(short: str, words: Sequence[str], place: int) -> list[str]:
    """Return the units before a place that may be of the long form: of its sentence, and no more than there can be."""
    first = max(0, place - min(len(short) + 5, 2 * len(short)))
    for at in range(place - 1, first - 1, -1):
        if words[at] in _BREAKS or words[at][:1] in _OPENING or words[at][-1:] in _CLOSED:
            return list(words[at + 1 : place])
    return list(words[first:place])


def _shortest(short: str, words: Sequence[str]) -> tuple[str, ...]:
    """Return the fewest last words that have all letters of a short form in order, its first at the start of a word."""
    text = " ".join(words)
    lowered, at = text.lower(), len(text)
    if len(lowered) != len(text):  # a letter whose small form is two
        return ()
    letters = [letter for letter in short.lower() if letter.isalnum()]
    for number, letter in reversed(list(enumerate(letters))):
        at = lowered.rfind(letter, 0, at)
        while number == 0 and at > 0 and lowered[at - 1].isalnum():
            at = lowered.rfind(letter, 0, at)
        if at < 0:
            return ()
    long = tuple(text[text.rfind(" ", 0, at) + 1 :].split())
    is_longer = len("".join(long)) > len(short)
    return long if is_longer and not any(short in word for word in long) else ()
