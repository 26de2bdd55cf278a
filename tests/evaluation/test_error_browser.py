"""What the error browser is given: every mistake with its place in its text, and the pages that it is on."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from papermage_core import Box, Document, Entity, Image, Metadata, Span
from papermage_core.data import read_documents
from papermage_core.data.gold import label_document
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.evaluation import ErrorLog, ErrorRecord, UnitText, document_errors, errors, write_error_page
from papermage_core.evaluation.report.browser import browser_data
from papermage_core.evaluation.report.pictures import PdfPages
from papermage_core.plugin.spec import ContextNeeds, UnitSpan

CHARACTERS = st.sampled_from("ab é\n\t𝛼\u0301\u202e<\0\ud83d")


def blocks(data: list[bytes]) -> dict[str, Any]:
    """The content of the elements, by name."""
    found = re.findall(r'id="([^"]*)">(.*?)</script>', b"".join(data).decode(), re.DOTALL)
    return {name: json.loads(content) for name, content in found}


def pages_of(found: dict[str, Any]) -> dict[str, Any]:
    pages = {name: content for name, content in found.items() if name.startswith("page-")}
    return {name: json.loads(zlib.decompress(base64.b64decode(content))) for name, content in pages.items()}


def as_javascript(text: str, start: int, stop: int) -> str:
    return text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * stop].decode("utf-16-le", "surrogatepass")


def text_of(symbols: str, name: str = "d") -> UnitText:
    """Each run of characters that are no space is a unit."""
    found = [(match.start(), match.end()) for match in re.finditer(r"\S+", symbols)]
    starts, stops = np.array(found, np.int64).reshape(-1, 2).T
    return UnitText(document=name, symbols=symbols, starts=starts, stops=stops)


@given(st.text(CHARACTERS, max_size=80), st.data())
def test_entities_lie_where_javascript_finds_their_text(symbols: str, data: st.DataObject) -> None:
    text = text_of(symbols)
    if not len(text.starts):
        return
    place = st.integers(0, len(text.starts) - 1)
    gold, predicted = (
        [UnitSpan.of("x", at, at + 1) for at in data.draw(st.lists(place, unique=True, max_size=3))] for _ in range(2)
    )
    records = document_errors(gold, predicted, text, snippet=10)
    rows = blocks(browser_data(records))["mistakes"]
    assert len(rows) == len(records)
    assert [row[4] for row in rows] == [None] * len(rows)
    for record, row in zip(records, rows, strict=True):
        shown = (record.before + record.text + record.after).encode("utf-8", "replace").decode()
        assert row[7] == shown
        for span, places in ((record.gold, row[8]), (record.predicted, row[9])):
            expected = symbols[text.starts[span.start] : text.stops[span.start]] if span else ""
            assert (
                as_javascript(row[7], *places[:2]) == expected.encode("utf-8", "replace").decode()
                if span
                else not places
            )


@given(st.text(st.sampled_from("ab \n"), max_size=60), st.integers(0, 60), st.integers(0, 30))
def test_what_stands_around_is_whole_words_as_far_as_there_are_any(symbols: str, at: int, most: int) -> None:
    text = text_of(symbols)
    if not len(text.starts):
        return
    unit = at % len(text.starts)
    (record,) = document_errors([UnitSpan.of("x", unit, unit + 1)], [], text, snippet=most)
    assert symbols[record.start_char - len(record.before) : record.start_char] == record.before
    assert symbols[record.end_char : record.end_char + len(record.after)] == record.after
    assert max(len(record.before), len(record.after)) <= most
    words = {word for word in symbols.split() if len(word) <= most // 3}
    if len(words) == len({*symbols.split()}):
        assert {*record.before.split(), *record.after.split()} <= words


def test_no_character_is_cut_from_its_accents() -> None:
    symbols = "e\u0301" * 40 + " x"
    (record,) = document_errors([UnitSpan.of("x", 1, 2)], [], text_of(symbols), snippet=8)
    assert record.before == "e\u0301e\u0301e\u0301 "


def records() -> Iterator[ErrorRecord]:
    text = text_of("one two three four five")
    gold = [UnitSpan.of("a", 0, 2), UnitSpan("b", ((2, 3), (4, 5)))]
    predicted = [UnitSpan.of("a", 0, 1, score=0.5), UnitSpan.of("c", 3, 4, score=0.9)]
    yield from document_errors(gold, predicted, text, unit_scores=np.array([0.9, 0.8, 0.7, np.nan, 0.6]))


def test_a_record_says_how_sure_the_model_was_and_what_else_is_near() -> None:
    boundary, missed, spurious = sorted(records(), key=lambda record: record.kind != "wrong boundary")
    assert (boundary.score, missed.score, spurious.score) == (0.5, 0.6, 0.9)
    assert boundary.gold_near == ((8, 13, "b"), (19, 23, "b"))
    assert missed.predicted_near == ((0, 3, "a"), (14, 18, "c"))
    assert missed.gold_near == ((0, 7, "a"),)


def test_records_go_into_lines_and_back() -> None:
    log = ErrorLog()
    found = [attrs.evolve(record, note="why \ud800") for record in records()]
    for record in found:
        log.add(record)
    assert list(log) == found
    assert [record.predicted.score if record.predicted else None for record in log] == [
        record.predicted.score if record.predicted else None for record in found
    ]
    assert list(log) == found  # a second time


def test_the_mistakes_of_highest_score_are_shown_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papermage_core.evaluation.report.browser.MOST_SHOWN", 3)
    found = [
        attrs.evolve(next(records()), document=f"d{i}", score=score)
        for i, score in enumerate((0.1, None, 0.9, 0.5, 0.5, 0.2))
    ]
    data = blocks(browser_data(found, total=6))
    assert [data["errors"]["documents"][row[1]] for row in data["mistakes"]] == ["d2", "d3", "d4"]
    assert data["errors"]["total"] == 6


def test_a_long_entity_is_shown_without_its_middle() -> None:
    symbols = "before " + "word " * 5000 + "after"
    text = text_of(symbols)
    gold, predicted = UnitSpan.of("x", 1, 5001), UnitSpan.of("x", 4990, 5001)
    data = blocks(browser_data(errors([[gold]], [[predicted]], [text])))
    (row,) = data["mistakes"]
    assert len(row[7]) < 600
    assert as_javascript(row[7], *row[8]).startswith("word word")
    assert " … " in as_javascript(row[7], *row[8])
    assert as_javascript(row[7], *row[9]) == ("word " * 11).strip()


def test_many_mistakes_stay_below_ten_megabytes(tmp_path: Path) -> None:
    """Also where each character has three bytes and each text is long."""
    wide = attrs.evolve(
        next(records()),
        before="汉" * 60,
        text="字" * 5000,
        after="汉" * 60,
        start_char=60,
        end_char=5060,
        gold_chars=((60, 5060),),
        predicted_chars=(),
    )
    found = [attrs.evolve(wide, document=f"document-{i % 500}", score=i / 20000) for i in range(20_000)]
    write_error_page(tmp_path / "errors.html", found, title="many")
    assert (tmp_path / "errors.html").stat().st_size < 10_000_000


# Pages ---------------------------------------------------------------------------------------------------------------


def paper(name: str = "paper", pictured: bool = False) -> Document:
    """Three pages of eight words, a word every tenth of the page's height; the third of each is a heading."""
    words = [f"word{page}-{row}" for page in range(3) for row in range(8)]
    starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
    spans = [Span(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    images = [Image.create_rgb_all_white(60, 90) for _ in range(3)] if pictured else None
    document = Document(" ".join(words), images, Metadata(doc_id=name))
    boxes = [Box(0.2, 0.1 + 0.1 * (i % 8), 0.3, 0.04, i // 8) for i in range(len(words))]
    document.annotate_layer("tokens", [Entity(spans=[s], boxes=[b]) for s, b in zip(spans, boxes, strict=True)])
    pages = [
        Entity(spans=[Span(spans[8 * i].start, spans[8 * i + 7].end)], metadata=Metadata(width=600, height=900))
        for i in range(3)
    ]
    document.annotate_layer("pages", pages)
    document.annotate_layer("heading", [Entity(spans=[spans[8 * i + 2]]) for i in range(3)])
    return document


def parsed(document: Document, entity_name: str = "tokens") -> ParsedDocument:
    labelling = Labelling(label_field=("heading",), entity_name=entity_name)
    parser = Parser(labelling, ContextNeeds(), Issues())
    found = label_document(parser.parse(document, str(document.id), keep=True), document, labelling, Issues())
    assert found is not None
    return found


def mistakes(document: ParsedDocument, *predicted: UnitSpan) -> list[ErrorRecord]:
    text = UnitText(document=document.name, symbols=document.symbols, starts=document.starts, stops=document.stops)
    gold = [entity.as_span() for entity in document.gold[0] or ()]
    return document_errors(gold, predicted, text)


def test_the_pages_of_mistakes_are_there_with_what_is_on_them() -> None:
    document = parsed(paper())
    right, wrong = UnitSpan.of("heading", 2, 3), UnitSpan.of("heading", 11, 12, score=0.7)
    found = mistakes(document, right, wrong, UnitSpan.of("heading", 18, 19))
    assert [record.kind for record in found] == ["missed", "spurious"]
    data = blocks(browser_data(found, lambda: [document]))
    (page,) = pages_of(data).values()
    assert page[0]["page"] == 1
    assert [row[-1] for row in data["mistakes"]] == [[0], [0]]
    marks = {entity[0]: as_javascript(page[0]["text"], *entity[2]) for entity in page[0]["entities"]}
    assert marks == {"gold": "word1-2", "predicted": "word1-3"}


def test_what_is_right_on_a_page_is_drawn_too() -> None:
    document = parsed(paper())
    found = mistakes(
        document, *(UnitSpan.of("heading", 8 * i + 2, 8 * i + 3) for i in range(3)), UnitSpan.of("heading", 0, 1)
    )
    (page,) = pages_of(blocks(browser_data(found, lambda: [document]))).values()
    assert sorted(entity[0] for entity in page[0]["entities"]) == ["predicted", "right"]
    (page,) = pages_of(blocks(browser_data(found, lambda: [document], labels=["other"]))).values()
    assert [entity[0] for entity in page[0]["entities"]] == ["predicted"]


def test_documents_of_one_name_have_their_own_pages() -> None:
    one, other = paper("same"), paper("same")
    other.annotate_layer("more", [])
    changed = Document.from_json(json.loads(json.dumps(other.to_json()).replace("word", "term")))
    documents = [parsed(one), parsed(changed)]
    found = [record for document in documents for record in mistakes(document)]
    pages = pages_of(blocks(browser_data(found, lambda: documents)))
    assert len(pages) == 6
    assert {page[0]["text"][:4] for page in pages.values()} == {"word", "term"}


def test_a_mistake_over_two_pages_has_both() -> None:
    document = parsed(paper())
    found = mistakes(
        document, *(UnitSpan.of("heading", 8 * i + 2, 8 * i + 3) for i in range(3)), UnitSpan.of("heading", 7, 9)
    )
    data = blocks(browser_data(found, lambda: [document]))
    assert sorted(data["mistakes"][0][-1]) == [0, 1]


def test_pictures_of_pages_come_along() -> None:
    document = parsed(paper(pictured=True))
    pages = pages_of(blocks(browser_data(mistakes(document), lambda: [document])))
    assert len(pages) == 3
    assert all(page[1].startswith("image/") for page in pages.values())


def test_pages_of_a_pdf_beside_the_data_look_as_they_do(corpora: Path) -> None:
    pytest.importorskip("pypdfium2")
    pytest.importorskip("PIL")
    (document,) = read_documents(corpora / "papermage_docs" / "1903.10676.pdf")
    document.annotate_layer("heading", [Entity(spans=document.tokens[3].spans)])
    found = parsed(document)
    folders = [corpora / "ncbi_disease", corpora / "papermage_docs"]
    (page,) = pages_of(blocks(browser_data(mistakes(found), lambda: [found], folders=folders))).values()
    assert page[1].startswith("image/jpeg;base64,")
    assert base64.b64decode(page[1].partition(",")[2]).startswith(b"\xff\xd8")
    assert page[0]["tokens"]


@pytest.mark.parametrize("name", ["../paper", "a/b", "no\0ne", "", "text", "paper"])
def test_odd_names_and_files_give_no_picture(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4")
    (folder / "text.pdf").write_text("no PDF")
    assert PdfPages([folder, tmp_path / "none"]).picture(name, 0) == ""


def test_units_without_text_are_drawn_by_their_boxes() -> None:
    document = Document("x", metadata=Metadata(doc_id="boxes"))
    box = Box(0.1, 0.2, 0.3, 0.4, 0)
    document.annotate_layer(
        "tokens", [Entity(spans=[Span(0, 1)], boxes=[Box(0.5, 0.5, 0.1, 0.1, 0)]), Entity(boxes=[box])]
    )
    document.annotate_layer("heading", [Entity(boxes=[box])])
    found = parsed(document)
    (page,) = pages_of(blocks(browser_data(mistakes(found), lambda: [found]))).values()
    assert [entity[3] for entity in page[0]["entities"]] == [[1000, 2000, 4000, 6000]]


def test_documents_without_boxes_and_changed_documents_have_no_pages() -> None:
    plain = Document("one two", metadata=Metadata(doc_id="plain"))
    plain.annotate_layer("tokens", [Entity(spans=[Span(0, 3)]), Entity(spans=[Span(4, 7)])])
    plain.annotate_layer("heading", [Entity(spans=[Span(0, 3)])])
    changed = attrs.evolve(parsed(paper()), symbols="another text")
    found = [*mistakes(parsed(plain)), *mistakes(parsed(paper()))]
    assert pages_of(blocks(browser_data(found, lambda: [parsed(plain), changed]))) == {}


def test_documents_that_cannot_be_read_again_leave_the_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    def gone() -> Iterator[ParsedDocument]:
        yield parsed(paper("other"))
        raise FileNotFoundError("it is gone")

    data = blocks(browser_data(mistakes(parsed(paper())), gone))
    assert len(data["mistakes"]) == 3
    assert "it is gone" in caplog.text


def test_pages_of_the_first_mistakes_are_there_where_there_is_no_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [parsed(paper(f"p{i}")) for i in range(20)]
    found = [
        attrs.evolve(record, score=i / 20) for i, document in enumerate(documents) for record in mistakes(document)
    ]
    everything = blocks(browser_data(found, lambda: documents))
    monkeypatch.setattr(
        "papermage_core.evaluation.report.browser._MOST_BYTES", len(json.dumps(everything["mistakes"])) + 4000
    )
    some = blocks(browser_data(found, lambda: documents))
    shown = len(pages_of(some))
    assert 0 < shown < len(pages_of(everything)) == 60
    assert some["errors"]["left_out"] == 60 - shown
    assert [bool(row[-1]) for row in some["mistakes"]] == [True] * shown + [False] * (60 - shown)
