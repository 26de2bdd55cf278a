"""Text that was not written by us, made safe to print."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Return ``text`` with all that would move, colour or reorder it, or cannot be encoded, as escapes.

    These are control and format characters (the bidirectional ones, too), lone surrogates and line ends other than a
    newline, which stays. What was JSON is JSON of the same content.

    >>> print(printable("\x1b[2J \u202eevil\u2028 naïve"))
    \x1b[2J \u202eevil\u2028 naïve
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character == "\n" or character.isprintable() or unicodedata.category(character) not in _ESCAPED:
        return character
    code = ord(character)
    if code > 0xFFFF:  # as in JSON, by two surrogates
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"
