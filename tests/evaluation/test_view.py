"""The file of a page of documents: what it holds is what the documents hold. What it shows: see test_view_browser."""

from __future__ import annotations

import base64
import io
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from papermage_core import Box, Document, Entity, Image, Metadata, Span
from papermage_core.data import read_documents, write_documents
from papermage_core.errors import DataError
from papermage_core.evaluation.view import ViewOptions, show, write_view
from papermage_core.testing.writer_suite import odd_documents
from tests.formats.helpers import labelled_documents


class Scripts(HTMLParser):
    """What stands in the script elements: data by id, and code; and the other elements' attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.data: dict[str, str] = {}
        self.code: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self._name: str | None = None
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, key, value) for key, value in attrs]
        self._script, self._name = tag == "script", dict(attrs).get("id")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and self._name:
            self.data[self._name] = self.data.get(self._name, "") + data
        elif self._script:
            self.code.append(data)


def page(*documents: Document, **options: Any) -> tuple[Scripts, dict[str, int]]:
    file = io.BytesIO()
    lost = write_view(documents, file, ViewOptions(**options))
    return Scripts(file.getvalue().decode()), lost


def sheets(scripts: Scripts, document: int = 0) -> list[dict[str, Any]]:
    count = len(json.loads(scripts.data["index"])["documents"][document]["sheets"])
    return [json.loads(scripts.data[f"s{document}-{i}"]) for i in range(count)]


def as_javascript(text: str, start: int, stop: int) -> str:
    """The part of a text that JavaScript finds at two places."""
    return text.encode("utf-16-le")[2 * start : 2 * stop].decode("utf-16-le")


def entity_texts(found: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """The text of each entity, by layer and number, put together again from the sheets."""
    texts: dict[tuple[str, int], str] = {}
    for sheet in found:
        for layer, _, segments, _, _, _, number, _ in sheet.get("entities", ()):
            pieces = (as_javascript(sheet["text"], *segments[i : i + 2]) for i in range(0, len(segments), 2))
            texts[layer, number] = texts.get((layer, number), "") + "".join(pieces)
    return texts


def expected_texts(document: Document, layers: list[str]) -> dict[tuple[str, int], str]:
    return {
        (layer, i): "".join(document.symbols[span.start : span.end] for span in entity.spans)
        for layer in layers
        for i, entity in enumerate(document.get_layer(layer))
    }


@given(labelled_documents())
def test_all_text_and_every_entity_is_there_once(document: Document) -> None:
    found = sheets(page(document)[0])
    assert "".join(sheet["text"] for sheet in found) == document.symbols
    assert entity_texts(found) == expected_texts(document, document.layer_names)


def test_a_long_text_is_cut_between_words_and_entities_over_the_cut_are_on_both_sides() -> None:
    words = [f"𝛼word{i}" for i in range(3000)]
    document = Document(" ".join(words))
    length = len(document.symbols)
    document.annotate_layer(
        "all", [Entity(spans=[Span(0, length)]), Entity(spans=[Span(5, 6), Span(length - 4, length)])]
    )
    found = sheets(page(document)[0])
    assert len(found) > 5
    assert max(len(sheet["text"]) for sheet in found) <= 4000
    assert [word for sheet in found for word in sheet["text"].split()] == words
    assert entity_texts(found) == expected_texts(document, ["all"])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_pages_have_their_own_text_tokens_and_boxes(order: tuple[int, ...]) -> None:
    """Also where the pages stand in another order than their text, and where text is on no page."""
    document = Document("before one two three")
    tokens = [(0, 6, None), (7, 10, order[0]), (11, 14, order[1]), (15, 20, order[2])]
    boxed = [
        Entity(spans=[Span(a, b)], boxes=[] if page is None else [Box(0.1, 0.2, 0.3, 0.05, page)])
        for a, b, page in tokens
    ]
    document.annotate_layer("tokens", boxed)
    pages = [Entity(spans=[Span(a, b)], boxes=[Box(0, 0, 1, 1, page)]) for a, b, page in tokens[1:]]
    document.annotate_layer("pages", pages)
    document.annotate_layer("X", [Entity(spans=[Span(0, 20)]), Entity(boxes=[Box(0.1, 0.1, 0.2, 0.2, 1)])])
    found = sheets(page(document)[0])
    by_page = {sheet["page"]: sheet for sheet in found}
    assert by_page[None]["text"] == "before "
    assert [by_page[number]["text"].strip() for number in order] == ["one", "two", "three"]
    for sheet in found[1:]:
        start, stop, *box, _ = sheet["tokens"]
        assert (sheet["text"][start:stop], box) == (sheet["text"].strip(), [1000, 2000, 4000, 2500])
    assert entity_texts(found)["X", 0] == document.symbols if order == (0, 1, 2) else True
    assert [entity[3] for entity in by_page[1]["entities"] if not entity[2]] == [[1000, 1000, 3000, 3000]]


def test_a_token_whose_box_is_on_another_page_than_its_text_is_drawn_there() -> None:
    document = Document("one two")
    document.annotate_layer("tokens", [Entity(spans=[Span(0, 3)], boxes=[Box(0.1, 0.1, 0.1, 0.1, 1)])])
    document.annotate_layer("pages", [Entity(spans=[Span(0, 3)]), Entity(spans=[Span(4, 7)])])
    assert sheets(page(document)[0])[1]["strays"] == [["one", 1000, 1000, 2000, 2000, 0]]


def test_pictures_are_put_in_and_what_is_none_is_counted() -> None:
    images = [Image.create_rgb_all_white(20, 30), Image.from_base64("no picture")]
    scripts, lost = page(Document("x", images))
    kind, data = json.loads(scripts.data["p0-1"]).split(",")
    assert kind == "image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert [sheet["ratio"] for sheet in sheets(scripts)][1:] == [1.5, pytest.approx(1.294)]
    assert lost == {"unreadable images": 1}
    assert page(Document("x", images), images=False)[1] == {"images": 2}


def test_agreement_is_of_label_and_place() -> None:
    document = Document("a b c d e")
    document.annotate_layer("X", [Entity(spans=[Span(i, i + 1)]) for i in (0, 2, 4)])
    guesses = [((0, 1), "X"), ((2, 4), "X"), ((4, 5), "Y"), ((6, 7), "X"), ((0, 1), "X")]
    predicted = [Entity(spans=[Span(*span)], metadata=Metadata(label=label)) for span, label in guesses]
    document.annotate_layer("predictions", predicted)
    (sheet,) = sheets(page(document, compare=("predictions",))[0])
    assert [entity[5] for entity in sheet["entities"]] == [True, False, False, True, False, False, False, True]
    placed = Document("x")
    placed.annotate_layer("X", [Entity(boxes=[Box(0.1, 0.1, 0.2, 0.2, 0)]), Entity(boxes=[Box(0.1, 0.1, 0.2, 0.2, 1)])])
    placed.annotate_layer("Y", [Entity(boxes=[Box(0.1, 0.1, 0.2, 0.2, 1)], metadata=Metadata(label="X"))])
    found = sheets(page(placed, compare=("Y",))[0])
    assert [entity[5] for sheet in found for entity in sheet.get("entities", ())] == [False, True, True]


def test_the_label_is_that_of_the_metadata_else_the_name_of_the_layer() -> None:
    document = Document("a b")
    known = Metadata(label="one", kind="two", score=0.5)
    document.annotate_layer("X", [Entity(spans=[Span(0, 1)], metadata=known), Entity(spans=[Span(2, 3)])])
    (sheet,) = sheets(page(document)[0])
    assert [(entity[1], entity[4], entity[7]) for entity in sheet["entities"]] == [
        ("one", 0.5, {"kind": "two"}),
        ("X", None, None),
    ]
    (sheet,) = sheets(page(document, label_attribute="kind")[0])
    assert [entity[1] for entity in sheet["entities"]] == ["two", "X"]


def test_a_layer_that_no_document_has_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no document has a layer 'Disese'.*'Disease'"):
        page(Document.from_json({"symbols": "a", "entities": {"Disease": []}}), layers=("Disese",))


def test_the_policy_allows_the_script_and_the_style_and_nothing_else() -> None:
    file = io.BytesIO()
    write_view(odd_documents(), file, ViewOptions(title="a </title><script>"))
    text = file.getvalue().decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    directives = dict(each.split(" ", 1) for each in policy[1].split("; "))
    (script,) = Scripts(text).code
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for name, content in (("script-src", script), ("style-src", style)):
        assert directives[name] == f"'sha256-{base64.b64encode(sha256(content.encode()).digest()).decode()}'"
    assert directives["default-src"] == "'none'"
    assert directives.keys() == {"default-src", "script-src", "style-src", "img-src"}
    assert not [given for given in Scripts(text).attributes if given[1].startswith("on") or given[1] in ("src", "href")]


def test_text_of_documents_opens_no_element(tmp_path: Path) -> None:
    hostile = "</script><!--<script>\u2028\ud800&lt;"
    document = Document(hostile.replace("\ud800", "?"), metadata=Metadata(doc_id=hostile))
    document.annotate_layer("<b>", [Entity(spans=[Span(0, 4)], metadata=Metadata(label=hostile, odd=float("nan")))])
    scripts, _ = page(document)
    assert len(scripts.code) == 1
    assert sheets(scripts)[0]["text"] == document.symbols
    assert sheets(scripts)[0]["entities"][0][1] == hostile.replace("\ud800", "?")


@pytest.mark.parametrize("name", ["silver_pdf/dev.jsonl", "docbank_pages/dev.jsonl", "ncbi_disease/dev.jsonl"])
def test_real_documents_are_all_there(corpora: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.html"
    written = write_documents(read_documents(corpora / name), path)
    scripts = Scripts(path.read_text(encoding="utf-8"))
    documents = list(read_documents(corpora / name))
    assert written.documents == len(documents)
    for number, document in list(enumerate(documents))[:20]:
        layers = [layer for layer in document.layer_names if layer != "tokens"]
        found = sheets(scripts, number)
        assert "".join(sheet["text"] for sheet in found) == document.symbols
        assert entity_texts(found) == expected_texts(document, layers)
        drawn = sum(len(sheet.get("tokens", ())) // 7 + len(sheet.get("strays", ())) for sheet in found)
        assert drawn == len(document.tokens.box_arrays())


class Frame(HTMLParser):
    """The attributes of the frame of a notebook's cell."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(cell)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "iframe"
        self.found.append(dict(attrs))


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    text = 'p < 0.05 & "x" </script><b>'
    documents = [Document.from_text(text, layers={"a": [(0, 1)], "b": [(2, 3)]}) for _ in range(2)]
    before = [document.to_bytes() for document in documents]
    shown = show(iter(documents), "a", compare="b", height=300)
    page = io.BytesIO()
    write_view(documents, page, ViewOptions(layers=("a",), compare=("b",)))
    (frame,) = Frame(shown._repr_html_()).found
    assert frame["srcdoc"] == shown.page == page.getvalue().decode()
    assert (frame["sandbox"], "height: 300px" in str(frame["style"])) == ("allow-scripts", True)
    assert [document.to_bytes() for document in documents] == before
    assert repr(shown).startswith("<2 documents, ")


def test_one_document_is_named_and_an_absent_layer_told() -> None:
    document = Document.from_text("No ataxia.", layers={"Disease": [(3, 9)]})
    document.metadata.doc_id = "a <1>"
    assert "<title>a &lt;1&gt;</title>" in show(document).page
    with pytest.raises(DataError, match="no document has a layer 'Diseases'"):
        show(document, "Diseases")
