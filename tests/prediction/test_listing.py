"""Predicted entities as lines to read."""

from __future__ import annotations

import io

import pytest

from papermage_core import Box, Document, Entity, Metadata, Span
from papermage_core.prediction.listing import Listing


def found(*documents: Document, layers: tuple[str, ...] = ("predictions",)) -> list[str]:
    file = io.BytesIO()
    assert Listing(layers=layers).build().write(iter(documents), file) == {}
    return file.getvalue().decode().splitlines()


def document(text: str, *entities: tuple[int, int, str, float], name: str | None = None) -> Document:
    made = Document(text, metadata=Metadata(doc_id=name) if name else None)
    layer = [Entity(spans=[Span(a, b)], metadata=Metadata(label=label, score=score)) for a, b, label, score in entities]
    made.annotate_layer("predictions", layer)
    return made


def test_each_entity_is_a_line_in_the_order_of_the_text() -> None:
    one = document("BRCA1 causes\nbreast cancer", (13, 26, "Disease", 0.5), (0, 5, "Gene", 0.987), name="a")
    assert found(one, document("x")) == [
        "a: Gene 1, Disease 1",
        "  Gene     0.99  BRCA1",
        "  Disease  0.50  breast cancer",
        "document 1: nothing found",
    ]


def test_pages_are_counted_as_people_do() -> None:
    made = document("one two", (0, 3, "X", 1.0), (4, 7, "X", 1.0), name="a")
    made.annotate_layer("pages", [Entity(spans=[Span(0, 3)]), Entity(spans=[Span(4, 7)])])
    made.annotate_layer("boxed", [Entity(boxes=[Box(0, 0, 1, 1, 4)], metadata=Metadata(label="Y"))])
    lines = found(made, layers=("predictions", "boxed"))
    assert [line.split()[:3] for line in lines[1:]] == [["page", "5", "Y"], ["page", "1", "X"], ["page", "2", "X"]]


def test_long_texts_are_cut_and_none_speaks_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    hostile = "\x1b[2J\u202e"
    (name, line) = found(document(hostile + "x" * 500, (0, 500, hostile + "L" * 50, 0.5), name=hostile))
    assert "\x1b" not in name + line
    assert "\u202e" not in name + line
    assert line.endswith("x…")
    assert len(line) < 100
