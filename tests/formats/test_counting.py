"""Offsets are read in whatever a file counts them, as its texts tell; and where texts differ, that is told once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data import read_documents
from papermage_core.errors import DataError

TEXT = "αβ 𝛼-syn\r\nbinds 🧬 DNA,\r\nand é 𝛼-syn."
UNITS: dict[str, Callable[[str], int]] = {
    "characters": len,
    "utf-16": lambda text: len(text.encode("utf-16-le")) // 2,
    "bytes": lambda text: len(text.encode()),
    "line ends as one": lambda text: len(text.replace("\r\n", "\n")),
    "utf-16, line ends as one": lambda text: len(text.replace("\r\n", "\n").encode("utf-16-le")) // 2,
}
Rows = Sequence[tuple[int, int, str]]


def brat(folder: Path, text: str, rows: Rows) -> Path:
    (folder / "a.txt").write_bytes(text.encode())
    lines = (f"T{i}\tX {a} {b}\t{' '.join(said.split())}\n" for i, (a, b, said) in enumerate(rows, 1))
    (folder / "a.ann").write_bytes("".join(lines).encode())
    return folder / "a.ann"


def bioc(folder: Path, text: str, rows: Rows) -> Path:
    annotations = [
        {"id": "1", "infons": {"type": "X"}, "text": said, "locations": [{"offset": a + 7, "length": b - a}]}
        for a, b, said in rows
    ]
    found = {"documents": [{"id": "1", "passages": [{"offset": 7, "text": text, "annotations": annotations}]}]}
    (folder / "a.json").write_text(json.dumps(found))
    return folder / "a.json"


def bioc_xml(folder: Path, text: str, rows: Rows) -> Path:
    annotations = "".join(
        f'<annotation><infon key="type">X</infon><location offset="{a}" length="{b - a}"/><text>{said}</text>'
        "</annotation>"
        for a, b, said in rows
    )
    passage = f"<passage><offset>0</offset><text>{text}</text>{annotations}</passage>"
    content = f"<collection><document><id>1</id>{passage}</document></collection>".replace("\r", "&#13;")
    (folder / "a.bioc").write_bytes(content.encode())
    return folder / "a.bioc"


def label_studio(folder: Path, text: str, rows: Rows) -> Path:
    regions = [
        {"type": "labels", "value": {"start": a, "end": b, "text": said.replace("\n", "\\n"), "labels": ["X"]}}
        for a, b, said in rows
    ]
    (folder / "a.json").write_text(json.dumps([{"data": {"text": text}, "annotations": [{"result": regions}]}]))
    return folder / "a.json"


WAYS = [brat, bioc, bioc_xml, label_studio]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("write", WAYS)
def test_entities_are_where_their_texts_are_whatever_is_counted(tmp_path: Path, write: Any, unit: str) -> None:
    wanted = [(3, 8), (10, 17), (18, 27), (28, 29), (30, 35)]
    size = UNITS[unit]
    (document,) = read_documents(
        write(tmp_path, TEXT, [(size(TEXT[:a]), size(TEXT[:b]), TEXT[a:b]) for a, b in wanted])
    )
    assert [(entity.start, entity.end) for entity in document.X] == wanted


def test_what_fits_by_chance_in_characters_is_counted_as_all_others(tmp_path: Path) -> None:
    """Each region by itself would be at home in the wrong place: in a text of one letter, every text is everywhere."""
    text = "🧬" + "a" * 8 + "b"
    rows = [(2, 4, "aa"), (4, 6, "aa"), (9, 11, "ab")]
    (document,) = read_documents(label_studio(tmp_path, text, rows))
    assert [(entity.start, entity.end) for entity in document.X] == [(1, 3), (3, 5), (8, 10)]


@pytest.mark.parametrize("unit", ["characters", "utf-16", "bytes"])
def test_pubtator_rows_too(tmp_path: Path, unit: str) -> None:
    size, text = UNITS[unit], "αβ 𝛼-syn\nbinds DNA"
    rows = [f"7\t{size(text[:a])}\t{size(text[:b])}\t{text[a:b]}\tX" for a, b in ((3, 8), (15, 18))]
    title, abstract = text.split("\n")
    path = tmp_path / "a.pubtator"
    path.write_text("\n".join([f"7|t|{title}", f"7|a|{abstract}", *rows]) + "\n\n", encoding="utf-8")
    (document,) = read_documents(path)
    assert [entity.text for entity in document.X] == ["𝛼-syn", "DNA"]


@pytest.mark.parametrize("write", WAYS)
def test_texts_that_differ_are_told_once_and_the_offsets_count(
    tmp_path: Path, write: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(0, 3, "one"), (4, 7, "two"), (8, 13, "seven"), (8, 13, "eight")]
    (document,) = read_documents(write(tmp_path, "one two three", rows))
    assert [entity.text for entity in document.X] == ["one", "two", "three", "three"]
    (told,) = caplog.messages
    assert "2 entities have another text in the file than at the offsets" in told
    assert "'seven', and there is 'three'" in told


def test_what_stands_between_segments_is_no_other_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("breast and ovarian cancers")
    (tmp_path / "a.ann").write_text("T1\tX 0 6;19 26\tbreast [...] cancers\nT2\tX 0 6;11 18\tbreast … ovarian\n")
    (document,) = read_documents(tmp_path / "a.ann")
    assert (len(document.X), caplog.messages) == (2, [])


def test_an_offset_within_a_character_is_refused(tmp_path: Path) -> None:
    rows = [(0, 3, "🧬a"), (3, 4, "b"), (1, 2, "🧬")]
    with pytest.raises(DataError, match=r"line 3: X \(T3\): 1 to 2 is no place in the text, of which UTF-16 units"):
        list(read_documents(brat(tmp_path, "🧬ab", rows)))


def test_an_entity_that_begins_with_the_byte_order_mark_begins_with_the_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As it does where somebody marks the first word of a file that Windows wrote, and brat counts the mark."""
    rows = [(0, 8, "\ufeffAspirin"), (15, 18, "Bob")]
    (document,) = read_documents(brat(tmp_path, "\ufeffAspirin helps Bob", rows))
    assert [(entity.start, entity.text) for entity in document.X] == [(0, "Aspirin"), (14, "Bob")]
    assert caplog.messages == []


@given(st.text(st.sampled_from("aé🧬\r\n "), min_size=1, max_size=12).filter(str.strip), st.data())
def test_offsets_in_characters_are_never_taken_for_others(text: str, data: Any) -> None:
    """As long as a file's own texts are those at its offsets."""
    ends = st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True).map(sorted)
    places = data.draw(st.lists(ends, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        (document,) = read_documents(bioc(Path(folder), text, [(a, b, text[a:b]) for a, b in places]))
    found = [[entity.start, entity.end] for entity in document.X] if places else []
    assert sorted(found) == sorted(places)
