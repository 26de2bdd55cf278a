"""Records as files: what others read in them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Metadata, Span
from papermage_core.testing import DocumentWriterSuite
from papermage_records.bibtex import BibtexConfig
from papermage_records.csl import CslJsonConfig
from papermage_records.jsonl import RecordLinesConfig
from papermage_records.latex import to_latex
from papermage_records.table import RecordTableConfig
from papermage_records.tei import BiblStructConfig
from tests.formats.helpers import written

TEI = "{http://www.tei-c.org/ns/1.0}"
ODD = "R&D_x 50% #1 {a} \\b ~c ^d $e \"f\" 'g' <h> ü é Łódź 日本語 \U0001f9ec – “q”"


class TestRecordLines(DocumentWriterSuite):
    component = "records"
    reader = None  # a list of records is not read as documents


class TestRecordTable(DocumentWriterSuite):
    component = "records_csv"
    reader = None


class TestCslJson(DocumentWriterSuite):
    component = "csl_json"
    reader = None


class TestBibtex(DocumentWriterSuite):
    component = "bibtex"
    reader = None


class TestBiblStruct(DocumentWriterSuite):
    component = "biblstruct"
    reader = None


def references(*entries: dict[str, Any], doc_id: str = "paper") -> Document:
    """Return a document with a reference for each dict: field → text, or texts; authors, too, as lists of parts."""
    text = ""
    layers: dict[str, list[Entity]] = {"bib_entries": []}

    def add(layer: str, value: str, score: float | None = None) -> tuple[int, int]:
        nonlocal text
        start = len(text)
        text += value
        metadata = Metadata() if score is None else Metadata(score=score)
        layers.setdefault(layer, []).append(Entity(spans=[Span(start, len(text))], metadata=metadata))
        return start, len(text)

    for entry in entries:
        start = len(text)
        for field, values in entry.items():
            if field == "author" and isinstance(values, list):
                begin = len(text)
                for number, parts in enumerate(values):
                    text += " and " if number else ""
                    for place, (layer, value) in enumerate(parts):
                        text += " " if place else ""
                        add(layer, value, 0.5)
                layers.setdefault("author", []).append(Entity(spans=[Span(begin, len(text))]))
            else:
                for value in values if isinstance(values, list) else [values]:
                    add(field, value, 0.75)
                    text += ". "
            text += " . "
        layers["bib_entries"].append(Entity(spans=[Span(start, len(text))], boxes=[Box(0.1, 0.2, 0.3, 0.05, 1)]))
        text += "\n"
    document = Document(text, metadata=Metadata(doc_id=doc_id))
    for name, entities in layers.items():
        document.annotate_layer(name, entities)
    return document


SMITH = [("forename", "J."), ("middlename", "B."), ("surname", "Smith")]
KING = [("forename", "M."), ("surname", "King"), ("suffix", "Jr.")]
FULL = {
    "author": [SMITH, [("forename", "Jan"), ("surname", "van der Berg")], KING],
    "title": "Deep DNA study",
    "journal": "J. Fluid Mech.",
    "volume": "12",
    "issue": "3",
    "page_range": "123–130",
    "date": "12 March 2004",
    "pubnum": "doi:10.1000/ab_c%2(x)",
}  # fmt: skip
MISSING: dict[str, Any] = {"title": "Nothing else"}


# BibTeX --------------------------------------------------------------------------------------------------------------


def bibtex(documents: list[Document], **options: Any) -> Any:
    database = pytest.importorskip("pybtex.database", reason="a parser of BibTeX")
    data, _ = written(BibtexConfig(**options).build(), documents)
    return database.parse_string(data.decode(), "bibtex").entries


def decoded(tex: str) -> str:
    """Return text as TeX prints it, by another library's table of commands."""
    pytest.importorskip("latexcodec")
    for command, sign in (
        ("\\textbraceleft{}", "\0"), ("\\textbraceright{}", "\1"), ("\\textbackslash{}", "\2"),
        ("\\textasciitilde{}", "\3"), ("\\textasciicircum{}", "\4"), ("\\$", "$"),
    ):  # fmt: skip
        tex = tex.replace(command, sign)
    text = codecs.decode(tex, "ulatex").replace("{", "").replace("}", "")
    return text.translate({0: "{", 1: "}", 2: "\\", 3: "~", 4: "^"})


def test_bibtex_is_parsed_as_it_was_meant() -> None:
    entries = bibtex([references(FULL, MISSING)])
    first, second = entries.values()
    assert first.type == "article"
    authors = [
        (p.first_names, p.middle_names, p.prelast_names, p.last_names, p.lineage_names) for p in first.persons["author"]
    ]
    assert authors == [
        (["J."], ["B."], [], ["Smith"], []),
        (["Jan"], [], ["van", "der"], ["Berg"], []),
        (["M."], [], [], ["King"], ["Jr."]),
    ]
    fields = {
        name: first.fields[name] for name in ("title", "journal", "volume", "number", "pages", "year", "month", "doi")
    }
    assert fields == {
        "title": "Deep {DNA} study", "journal": "J. Fluid Mech.", "volume": "12", "number": "3", "pages": "123--130",
        "year": "2004", "month": "March", "doi": "10.1000/ab_c%2(x",
    }  # fmt: skip
    assert (second.type, dict(second.persons)) == ("misc", {})
    assert set(second.fields) == {"title", "papermage"}
    assert "author.surname 0.5000 at 6-11" in first.fields["papermage"]


@pytest.mark.parametrize("ascii", [False, True])
def test_bibtex_prints_what_was_there(ascii: bool) -> None:
    entry = {
        "author": [[("forename", "É. {x}"), ("surname", "O'Brien & Søn_1")]],
        "title": ODD,
        "journal": ODD,
        "keyword": ODD,
    }
    records = "bib_entries(author[forename,surname],title,journal,keyword)"
    (found,) = bibtex([references(entry)], ascii=ascii, records=records).values()
    plain = ODD.replace("–", "--") if ascii else ODD
    for field in ("title", "journal", "keyword"):
        got = decoded(found.fields[field])
        assert got.replace("``", "“").replace("''", "”").replace("–", "--" if ascii else "–") == plain
    (person,) = found.persons["author"]
    assert decoded(" ".join(person.last_names)) == "O'Brien & Søn_1"
    if ascii:
        outside = [
            sign
            for sign in written(BibtexConfig(ascii=True).build(), [references(entry)])[0].decode()
            if not sign.isascii()
        ]
        assert set(outside) == set("日本語\U0001f9ec")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20))
def test_braces_are_even_whatever_the_text(text: str) -> None:
    for ascii in (False, True):
        found = to_latex(text, ascii=ascii)
        depth = 0
        for sign in found:
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0
        assert depth == 0
        assert not re.search(r"(?<!\\)[&%$#_]", found)


def test_keys_stand_once() -> None:
    same = {"author": [SMITH], "title": "The same", "date": "2004"}
    taken = {"author": [[("surname", "Smith2004same")]], "title": "x-2"}
    documents = [references(same, same), references(same, taken, {"title": "山田"}, {"title": "!"})]
    data, _ = written(BibtexConfig().build(), documents)
    keys = re.findall(r"^@\w+\{(.*),$", data.decode(), re.MULTILINE)
    assert keys[:3] == ["smith2004same", "smith2004same-2", "smith2004same-3"]
    assert len(set(keys)) == len(keys) == 6
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)
    assert len(bibtex(documents)) == 6


@pytest.mark.parametrize(
    ("author", "key"),
    [
        ("Duarte, A.", "duarte1907dot"),
        ("J. Smith and A. Jones", "smith1907dot"),
        ("Smith J, Jones B", "smith1907dot"),
        ("van den Berg, H.; Li, W.", "berg1907dot"),
        ("Li, W.", "li1907dot"),
        ("W", "w1907dot"),
        (", and", "and1907dot"),
        ("山田", "1907dot"),
    ],
)
def test_the_key_of_authors_without_parts_is_the_first_one_s_family_name(author: str, key: str) -> None:
    document = references({"author": author, "title": "Dot", "date": "1907"})
    data, _ = written(BibtexConfig().build(), [document])
    assert re.findall(r"^@\w+\{(.*),$", data.decode(), re.MULTILINE) == [key]


def test_names_that_tex_would_take_apart_are_kept_whole() -> None:
    authors = [[("surname", "Barnes and Noble")], [("forename", "A., B."), ("surname", "de Gaulle")]]
    entry = {"author": authors, "collaboration": "ATLAS and CMS, joint", "title": "x"}
    (found,) = bibtex([references(entry)]).values()
    assert [" ".join(p.last_names) for p in found.persons["author"]] == [
        "{Barnes and Noble}",
        "Gaulle",
        "{ATLAS and CMS, joint}",
    ]


def test_a_field_of_another_name_takes_no_field_away() -> None:
    entry = {"title": "x", "date": "May 1999", "type": "Paper", "month": "June", "crossref": "nobody"}
    config = BibtexConfig(records="bib_entries(title,date,type,month,crossref)")
    text = written(config.build(), [references(entry)])[0].decode()
    for line in ("  type = {Paper},", "  x-month = {June},", "  month = may,", "  x-crossref = {nobody},"):
        assert text.count(f"{line}\n") == 1


# CSL-JSON ------------------------------------------------------------------------------------------------------------

_TEXT = {"type": ["string", "number"]}
_STRING = {"type": "string"}
_NAME = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("family", "given", "dropping-particle", "non-dropping-particle")},
        **{name: {"type": "string"} for name in ("suffix", "literal")},
    },
    "additionalProperties": False,
}
CSL = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "id"],
        "properties": {
            "type": {"enum": ["article-journal", "paper-conference", "report", "book", "document"]},
            "id": _TEXT,
            **{name: {"type": "array", "items": _NAME} for name in ("author", "editor")},
            "issued": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "date-parts": {
                                "type": "array", "minItems": 1, "maxItems": 2,
                                "items": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 3},
                            },
                            "raw": {"type": "string"},
                        },
                        "additionalProperties": False,
                    }
                ]
            },
            **dict.fromkeys(("collection-title", "container-title", "DOI", "genre", "ISBN", "ISSN"), _STRING),
            **dict.fromkeys(("note", "PMCID", "PMID", "publisher", "publisher-place", "title", "URL"), _STRING),
            **dict.fromkeys(("issue", "number", "page", "volume"), _TEXT),
            "custom": {"type": "object"},
        },
        "additionalProperties": False,
    },
}  # fmt: skip
"""The parts of the schema of CSL 1.0.2 that are written here."""


def csl(documents: list[Document], **options: Any) -> Any:
    items = json.loads(written(CslJsonConfig(**options).build(), documents)[0])
    jsonschema.validate(items, CSL)
    return items


def test_csl_json_is_as_its_schema_says() -> None:
    odd = {
        "title": ODD,
        "date": "in press",
        "collaboration": "ATLAS",
        "web": "http://a.b/c d",
        "pubnum": "PMID: 1234567",
        "note": "n",
    }
    book = {"author": [SMITH], "booktitle": "A book", "publisher": "P", "location": "Rome", "date": "1999"}
    first, second, third, fourth = csl([references(FULL, odd), references(book, MISSING)])
    assert first["author"] == [
        {"family": "Smith", "given": "J. B."}, {"family": "van der Berg", "given": "Jan"},
        {"family": "King", "given": "M.", "suffix": "Jr."},
    ]  # fmt: skip
    assert first["issued"] == {"date-parts": [[2004, 3, 12]]}
    assert (first["page"], first["type"], first["DOI"]) == ("123-130", "article-journal", "10.1000/ab_c%2(x")
    assert (second["title"], second["issued"], second["PMID"], second["URL"]) == (
        ODD,
        {"raw": "in press"},
        "1234567",
        "http://a.b/cd",
    )
    assert second["author"] == [{"literal": "ATLAS"}]
    assert (third["type"], third["title"], third["publisher-place"]) == ("book", "A book", "Rome")
    assert set(fourth) == {"id", "type", "title", "custom"}
    assert len({item["id"] for item in (first, second, third, fourth)}) == 4, "documents of one name have other ids"


def test_each_value_of_csl_json_keeps_score_and_place() -> None:
    document = references(FULL)
    (item,) = csl([document])
    for path, values in item["custom"]["values"].items():
        for value in values:
            ((start, stop),) = value["spans"]
            assert document.symbols[start:stop] == value["text"]
            assert value.get("score") == (None if path == "author" else 0.5 if path.startswith("author.") else 0.75)
    assert item["custom"]["boxes"] == [[0.1, 0.2, 0.3, 0.05, 1]]
    assert item["custom"]["pages"] == [1]


def test_no_documents_and_no_references_make_a_whole_file() -> None:
    bare = Document("nothing")
    for documents in ([], [bare]):
        assert csl(documents) == []
        assert ElementTree.fromstring(written(BiblStructConfig().build(), documents)[0]).tag == f"{TEI}TEI"
        assert len(bibtex(documents)) == 0
    assert written(BibtexConfig().build(), [bare])[1]["documents without records"] == 1


# TEI -----------------------------------------------------------------------------------------------------------------


def test_tei_is_parsed_as_it_was_meant() -> None:
    document = references(
        FULL, {"title": ODD + "\x00", "publisher": "P", "date": "1999", "keyword": "k"}, doc_id="a/b ü"
    )
    data, lost = written(BiblStructConfig().build(), [document, references(MISSING)])
    root = ElementTree.fromstring(data)
    lists = root.findall(f".//{TEI}listBibl")
    assert [each.get("n") for each in lists] == ["a/b ü", "paper"]
    first, second = lists[0]
    names = [
        [(part.tag.removeprefix(TEI), part.text) for part in person]
        for person in first.findall(f"{TEI}analytic/{TEI}author/{TEI}persName")
    ]
    assert names[0] == [("forename", "J."), ("forename", "B."), ("surname", "Smith")]
    assert names[1:] == [
        [("forename", "Jan"), ("surname", "van der Berg")],
        [("forename", "M."), ("surname", "King"), ("genName", "Jr.")],
    ]
    imprint = first.find(f"{TEI}monogr/{TEI}imprint")
    assert imprint is not None
    scopes = {
        each.get("unit"): (each.text, each.get("from"), each.get("to")) for each in imprint.findall(f"{TEI}biblScope")
    }
    assert scopes == {"volume": ("12", None, None), "issue": ("3", None, None), "page": ("123–130", "123", "130")}
    assert [each.get("when") for each in imprint.findall(f"{TEI}date")] == ["2004-03-12"]
    title = first.find(f"{TEI}analytic/{TEI}title")
    assert title is not None
    assert (title.text, title.get("cert")) == ("Deep DNA study", "0.7500")
    start, stop = map(int, str(title.get("source")).partition("#char=")[2].split(","))
    assert document.symbols[start:stop] == "Deep DNA study"
    assert second.find(f"{TEI}monogr/{TEI}title").text == ODD + "\ufffd"  # type: ignore[union-attr]
    assert lost["characters that XML lacks"] == 2  # the title, and the whole reference
    ids = re.findall(r'xml:id="(\w+)"', data.decode())
    assert ids == ["b0", "b1", "b2"]


# Lines and tables ----------------------------------------------------------------------------------------------------


def test_lines_hold_every_value_with_score_and_place() -> None:
    document = references(FULL, MISSING)
    config = RecordLinesConfig(records="bib_entry(author[given,middlename,family],title,date)")
    data, lost = written(config.build(), [document])
    first, second = map(json.loads, data.decode().splitlines())
    assert (first["record"], first["document"], first["number"], second["number"]) == ("bib_entry", "paper", 1, 2)
    (author,) = first["fields"]["author"]
    assert [each["text"] for each in author["fields"]["family"]] == ["Smith", "van der Berg", "King"]
    assert author["persons"][1] == {"given": "Jan", "family": "van der Berg"}
    (title,) = first["fields"]["title"]
    assert title == {"text": "Deep DNA study", "score": 0.75, "spans": title["spans"]}
    assert [document.symbols[a:b] for a, b in title["spans"]] == ["Deep DNA study"]
    assert second["fields"] == {"author": [], "title": second["fields"]["title"], "date": []}
    assert (lost["journal"], lost["volume"]) == (1, 1), "what is no field is counted"


def test_discontinuous_values_keep_all_their_places() -> None:
    document = Document("Deep - run - head - ning", metadata=Metadata(doc_id="d"))
    document.annotate_layer("bib_entries", [Entity(spans=[Span(0, 6), Span(18, 24)])])
    document.annotate_layer("title", [Entity(spans=[Span(0, 4), Span(20, 24)])])
    data, _ = written(RecordLinesConfig(records="bib_entries(title)").build(), [document])
    record = json.loads(data)
    assert record["spans"] == [[0, 6], [18, 24]]
    assert record["fields"]["title"] == [{"text": "Deep ning", "spans": [[0, 4], [20, 24]]}]
    data, _ = written(RecordTableConfig(records="bib_entries(title)").build(), [document])
    (row,) = csv.DictReader(io.StringIO(data.decode()))
    assert row["title.place"] == "0-4+20-24"
    (item,) = csl([document])
    assert item["title"] == "Deep ning"


def test_a_row_has_the_values_of_a_record() -> None:
    document = references(FULL, {"title": ["=SUM(A1)", "two"]})
    data, _ = written(RecordTableConfig(records="bib_entry(author[family],title,note)", mark=True).build(), [document])
    first, second = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert first["author.family"] == "Smith; van der Berg; King"
    assert first["author.family.score"] == "0.5; 0.5; 0.5"
    assert (first["title"], first["title.score"], first["note"]) == ("Deep DNA study", "0.75", "")
    assert second["title"] == "'=SUM(A1); two", "no spreadsheet runs it"
    places = [tuple(map(int, place.split("-"))) for place in second["title.place"].split("; ")]
    assert [str(document.symbols)[a:b] for a, b in places] == ["=SUM(A1)", "two"]


def test_names_of_which_documents_have_nothing_are_told_apart() -> None:
    layers, labels = ("bib_entries", "tokens"), ("forename", "title")
    config = RecordTableConfig(records="bib_entry(author[given],title,auther,bib_entries.title,entries.title)")
    assert config.absent(layers, labels) == ["author", "auther", "entries.title"], "given is forename in other corpora"
    assert RecordTableConfig().absent(layers, labels) == [], "references have some of the fields that they may have"
