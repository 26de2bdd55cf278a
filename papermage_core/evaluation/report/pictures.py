"""Pictures of pages, made small enough for many of them to be in one file."""

from __future__ import annotations

import io
import logging
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

__all__ = ["PdfPages", "smaller"]

_WIDTH = 1000
"""Pixels of a page's width, at most."""
_QUALITY = 60
_SMALL = 40_000
"""Characters of a picture's address that are left as they are."""
_log = logging.getLogger(__name__)


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
            made = _address(image)
    except (OSError, ValueError):  # no picture that Pillow reads
        return picture
    return min(picture, made, key=len)


def _address(image: Any) -> str:
    found, file = image.convert("RGB"), io.BytesIO()
    found.thumbnail((_WIDTH, 20 * _WIDTH))
    found.save(file, "JPEG", quality=_QUALITY)
    return f"image/jpeg;base64,{b64encode(file.getvalue()).decode()}"


@attrs.define
class PdfPages:
    """Pictures of the pages of PDF files that lie in some folders and are named for their documents.

    There are none where pypdfium2 or Pillow is not installed.
    """

    folders: Sequence[Path] = ()
    _open: tuple[str, Any] | None = None

    def picture(self, document: str, page: int) -> str:
        """Return the content of an address of a page's picture, or nothing."""
        pdf = self._pdf(document)
        if pdf is None or not 0 <= page < len(pdf):
            return ""
        try:
            found = pdf[page]
            return _address(found.render(scale=_WIDTH / max(found.get_width(), 1)).to_pil())
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            _log.info("%s: page %d is shown without a picture: %s", document, page + 1, error)
            return ""

    def _pdf(self, document: str) -> Any:
        if self._open is None or self._open[0] != document:
            self._open = (document, self._opened(document))
        return self._open[1]

    def _opened(self, document: str) -> Any:
        name = f"{document}.pdf"
        if "\0" in name or Path(name).name != name:  # of a file elsewhere
            return None
        try:
            path = next((folder / name for folder in self.folders if (folder / name).is_file()), None)
            if path is None:
                return None
            from pypdfium2 import PdfDocument

            return PdfDocument(path)
        except (ImportError, RuntimeError, OSError, ValueError) as error:  # not installed, or no PDF
            _log.info("%s is shown without pictures: %s", document, error)
            return None
