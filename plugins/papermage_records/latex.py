"""Text as TeX reads it."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["to_latex"]

_SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_"},
    "{": "\\textbraceleft{}",  # braces must be even in a field, behind a backslash too
    "}": "\\textbraceright{}",
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": "."},
    **{"\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0328": "k"},
}
_LETTERS = {
    **{"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "å": "aa", "Å": "AA"},
    **{"ł": "l", "Ł": "L", "ı": "i"},
}
_SIGNS = {"–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~", "…": "\\ldots{}"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def to_latex(text: str, *, ascii: bool = False) -> str:
    """Return text whose special characters TeX prints; with ``ascii`` accents and dashes are commands, too.

    Characters for which there is no command, those of other scripts, stay as they are.

    >>> to_latex("R&D: 5 % of {x}"), to_latex("Erdős–Rényi", ascii=True)
    ('R\\\\&D: 5 \\\\% of \\\\textbraceleft{}x\\\\textbraceright{}', "Erd{\\\\H{o}}s--R{\\\\'e}nyi")
    """
    text = _CONTROL.sub(" ", text)
    if not ascii:
        return "".join(_SPECIAL.get(sign, sign) for sign in text)
    return "".join(map(_command, unicodedata.normalize("NFC", text)))


def _command(sign: str) -> str:
    if sign in _SPECIAL or sign.isascii():
        return _SPECIAL.get(sign, sign)
    if sign in _SIGNS:
        return _SIGNS[sign]
    if sign in _LETTERS:
        return f"{{\\{_LETTERS[sign]}}}"
    letter, *marks = list(unicodedata.normalize("NFD", sign))
    if len(marks) == 1 and marks[0] in _ACCENTS and letter.isascii() and letter.isalpha():
        accent = _ACCENTS[marks[0]]
        base = f"\\{letter}" if letter in "ij" and accent not in "cdk." else letter
        return f"{{\\{accent}{{{base}}}}}" if accent.isalpha() or base != letter else f"{{\\{accent}{base}}}"
    return sign
