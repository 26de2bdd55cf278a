"""Pictures of pages, made small enough for many of them to be in one file."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode

__all__ = ["smaller"]

_WIDTH = 1000
_QUALITY = 60
_SMALL = 40_000
"""Characters of a picture's address that are left as they are."""


def smaller(picture: str) -> str:
    """Return the content of a picture's ``data:`` address as one of fewer bytes, where Pillow is there to make it."""
    if len(picture) <= _SMALL:
        return picture
    try:
        from PIL import Image
    except ImportError:
        return picture
    try:
        with Image.open(io.BytesIO(b64decode(picture.partition(",")[2]))) as image:
            found = image.convert("RGB")
            found.thumbnail((_WIDTH, 20 * _WIDTH))
            file = io.BytesIO()
            found.save(file, "JPEG", quality=_QUALITY)
    except (OSError, ValueError):  # no picture that Pillow reads
        return picture
    made = f"image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
    return min(picture, made, key=len)
