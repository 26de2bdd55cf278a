"""What the characters of a text are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["code_points", "has_surrogates", "white_space"]

_IS_SPACE = np.array([chr(c).isspace() for c in range(0x3001)] + [False])
"""Code point → whether it is white space; the last place is that of all code points beyond the last white space."""


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code point of each character, lone surrogates too. Shape (characters,).

    >>> code_points("aé").tolist()
    [97, 233]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def white_space(text: str) -> NDArray[np.bool_]:
    r"""Return whether each character is white space, as ``str.isspace`` has it. Shape (characters,).

    >>> white_space("a\n\u3000b").tolist()
    [False, True, True, False]
    """
    return _IS_SPACE[np.minimum(code_points(text), len(_IS_SPACE) - 1)]


def has_surrogates(text: str) -> bool:
    r"""Return whether a text has a lone surrogate, which UTF-8 cannot hold.

    >>> has_surrogates("\ud83d")
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
