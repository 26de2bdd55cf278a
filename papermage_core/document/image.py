"""Pictures of pages. Needs Pillow (``pip install papermage_core[images]``) once a picture is looked at."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

__all__ = ["Image"]


class Image:
    """A picture, held as a PIL image; one that comes from base64 is decoded when it is first looked at."""

    __slots__ = ["_base64", "_pilimage"]

    def __init__(self) -> None:
        self._pilimage: PILImage | None = None
        self._base64: str | None = None

    @property
    def pilimage(self) -> PILImage:
        """The PIL image. Raises AttributeError while there is none; can be set once."""
        if self._pilimage is None and self._base64 is not None:
            self._pilimage = _pil().open(BytesIO(base64.b64decode(self._base64)))
        if self._pilimage is None:
            raise AttributeError("This Image is missing a PILImage. Try setting it first.")
        return self._pilimage

    @pilimage.setter
    def pilimage(self, pilimage: PILImage) -> None:
        if self._pilimage is not None or self._base64 is not None:
            raise AttributeError("This Image already has a PILImage. Make a new Image.")
        self._pilimage = pilimage

    @property
    def mode(self) -> str:
        """The PIL mode, such as ``"RGB"``."""
        return str(self.pilimage.mode)

    def convert_to_greyscale(self) -> Image:
        """Return a grey copy, in mode RGB."""
        return _of(self.pilimage.convert("L").convert("RGB"))

    def to_array(self) -> NDArray[Any]:
        """Return the pixels, shape (rows, columns, channels)."""
        return np.array(self.pilimage)

    @classmethod
    def from_array(cls, imarray: NDArray[Any]) -> Image:
        """Return the picture of RGB pixels, shape (rows, columns, 3). Raises ValueError for another shape."""
        if len(imarray.shape) != 3:
            raise ValueError("Input `imarray` should have 3 dimensions: (rows, cols, channels)")
        if imarray.shape[-1] != 3:
            raise ValueError("Input `imarray` final dimension should be length 3 for RGB.")
        return _of(_pil().fromarray(imarray.astype("uint8")))

    def to_json(self) -> None:
        """Return None: pictures are written by `to_base64`."""

    @classmethod
    def from_json(cls, image_json: Any) -> None:
        """Return None: pictures are read by `from_base64`."""

    def to_base64(self) -> str:
        """Return the picture as PNG in base64."""
        if self._base64 is not None:
            return self._base64
        buffer = BytesIO()
        self.pilimage.save(buffer, format="PNG")
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    @classmethod
    def from_base64(cls, img_str: str) -> Image:
        """Return the picture that `to_base64` wrote."""
        image = cls()
        image._base64 = img_str
        return image

    @classmethod
    def create_rgb_all_white(cls, width: int = 600, height: int = 800) -> Image:
        """Return a white picture."""
        return _of(_pil().new("RGB", (width, height), (255, 255, 255)))

    @classmethod
    def create_rgb_random(cls, width: int = 600, height: int = 800) -> Image:
        """Return a picture of noise."""
        return cls.from_array(np.random.default_rng().integers(0, 256, (height, width, 3)))

    def save(self, filepath: str | Path, is_overwrite: bool = False, format: str | None = None, **params: Any) -> None:
        """Write the picture to a file. Raises FileExistsError where there is one, unless ``is_overwrite``."""
        if Path(filepath).exists() and not is_overwrite:
            raise FileExistsError(f"Already image at {filepath}. Try setting `is_overwrite`")
        self.pilimage.save(filepath, format, **params)

    @classmethod
    def open(cls, filepath: str | Path, mode: str = "r", formats: Any = None) -> Image:
        """Return the picture in a file."""
        return _of(_pil().open(filepath, mode, formats))

    def show(self, title: str | None = None) -> None:
        """Show the picture in a window."""
        self.pilimage.show(title)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        from PIL import ImageChops

        return ImageChops.difference(self.pilimage, other.pilimage).getbbox() is None

    __hash__ = None  # type: ignore[assignment]  # compared by pixels

    def _repr_png_(self) -> Any:
        return self.pilimage._repr_png_()  # type: ignore[no-untyped-call, unused-ignore]

    def _repr_jpeg_(self) -> Any:
        return self.pilimage._repr_jpeg_()  # type: ignore[no-untyped-call, unused-ignore]


def _of(pilimage: PILImage) -> Image:
    image = Image()
    image.pilimage = pilimage
    return image


def _pil() -> Any:
    try:
        from PIL import Image as PilImage
    except ImportError as exc:
        raise ImportError("pictures need Pillow: pip install 'papermage_core[images]'") from exc
    return PilImage
