"""Pictures of pages: decoded when looked at, written in base64."""

from __future__ import annotations

from pathlib import Path

import pytest

from papermage_core import Document, Image

pytest.importorskip("PIL")


def test_pictures_survive_the_round_trip_where_asked_for(tmp_path: Path) -> None:
    white = Image.create_rgb_all_white(4, 3)
    doc = Document("text", images=[white])
    assert "images" not in doc.to_json()
    read = Document.from_json(doc.to_json(with_images=True))
    assert read.images == [white]
    assert Document.from_bytes(doc.to_bytes(with_images=True)).images[0].to_array().shape == (3, 4, 3)
    white.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png") == white
    with pytest.raises(FileExistsError):
        white.save(tmp_path / "a.png")


def test_a_picture_is_set_once_and_missing_ones_say_so() -> None:
    image = Image()
    with pytest.raises(AttributeError, match="missing"):
        _ = image.pilimage
    image.pilimage = Image.create_rgb_random(2, 2).pilimage
    assert image.mode == "RGB"
    with pytest.raises(AttributeError, match="already"):
        image.pilimage = image.pilimage
    assert image.convert_to_greyscale() != Image.create_rgb_all_white(2, 2)


def test_a_document_may_be_of_pictures_only() -> None:
    doc = Document(images=[Image.create_rgb_all_white(2, 2)])
    again = Document.from_bytes(doc.to_bytes(with_images=True))
    assert again.symbols is None
    assert len(again.images) == 1
    with pytest.raises(TypeError):
        doc.annotate_images([1, "a"])
    with pytest.raises(ValueError):
        doc.annotate_images([])
