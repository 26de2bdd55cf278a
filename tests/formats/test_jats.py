"""JATS as PubMed Central and publishers give it: text of the article, elements as labels, the rest as metadata."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.jats import JatsReaderConfig

DOCTYPE = (
    '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving and Interchange DTD v1.2 20190208//EN" '
    '"JATS-archivearticle1.dtd">\n'
)
META = (
    "<front><journal-meta><journal-id>j</journal-id><journal-title-group><journal-title>J. of  Testing"
    "</journal-title></journal-title-group><issn>1234-5678</issn></journal-meta><article-meta>"
    '<article-id pub-id-type="pmid">12</article-id><article-id pub-id-type="doi">10.1/x</article-id>'
    "<article-categories><subj-group><subject>Genetics</subject></subj-group></article-categories><title-group>"
    "<article-title>On <italic>ATM</italic></article-title><alt-title>running head</alt-title></title-group>"
    "<contrib-group><contrib><contrib-id>0000-1</contrib-id><name><surname>Roca</surname><given-names>O. P."
    '</given-names></name><degrees>MD</degrees><xref ref-type="aff" rid="a1">1</xref></contrib></contrib-group>'
    '<aff id="a1"><label>1</label>Hospital, Madrid</aff><pub-date><year>2013</year></pub-date><pub-date><month>'
    "3</month><year>2012</year></pub-date><volume>4</volume><issue>2</issue><fpage>6</fpage><history><date>"
    "<year>2001</year></date></history><permissions><copyright-statement>free</copyright-statement>"
    "</permissions><abstract><sec><title>Aim</title><p>To test.</p></sec></abstract><kwd-group><kwd>ataxia"
    "</kwd><kwd>ATM</kwd></kwd-group><counts><page-count/></counts></article-meta></front>"
)
BODY = (
    '<body><sec sec-type="intro"><label>1.</label><title>Introduction</title><p>It is known'
    '<xref ref-type="bibr" rid="b1">[1]</xref>, <italic>P </italic>= 0.02&#x02009;mm.</p><p>Then <fig><label>'
    "Figure 1</label><caption><title>A model.</title><p>It fits.</p></caption></fig></p></sec><disp-formula>"
    "<alternatives><tex-math>\\usepackage{x}</tex-math><mml:math><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mn>2"
    "</mml:mn></mml:math></alternatives><label>(3)</label></disp-formula><table-wrap><table><tr><th>a</th><th>b"
    "</th></tr><tr><td>1</td><td>2</td></tr></table></table-wrap></body>"
)
BACK = (
    '<back><ref-list><title>References</title><ref id="b1"><label>1</label><element-citation><person-group>'
    "<name><surname>McShea</surname><given-names>DW</given-names></name><name><surname>Chao</surname>"
    "<given-names>L</given-names></name><etal/></person-group><year>1996</year><article-title>"
    "Metazoan complexity</article-title><source>Evolution</source><volume>50</volume><fpage>477</fpage><lpage>"
    "92</lpage></element-citation></ref><ref><label>2</label><mixed-citation><string-name><surname>Orr"
    "</surname>, <given-names>H.A.</given-names></string-name> (<year>2000</year>). <source>Evolution</source> "
    "<bold>54</bold>(<issue>1</issue>):13&#x02013;20</mixed-citation></ref></ref-list></back>"
)
NAMESPACES = 'xmlns:mml="http://www.w3.org/1998/Math/MathML" xml:lang="en" article-type="research-article"'
BARE = f"<article {NAMESPACES}>{META}{BODY}{BACK}</article>"
ARTICLE = f"{DOCTYPE}{BARE}"
TEXT = """On ATM
Roca O. P. MD 1
1 Hospital, Madrid
Aim
To test.
ataxia
ATM
1. Introduction
It is known[1], P = 0.02\u2009mm.
Then
Figure 1 A model.
It fits.
x=2 (3)
a b
1 2
References
1 McShea DW Chao L 1996 Metazoan complexity Evolution 50 477 92
2 Orr, H.A. (2000). Evolution 54(1):13–20"""


class TestJats(DocumentReaderSuite):
    component = "jats"
    options = ({}, {"attributes": ["ref-type"], "label_layer": "all"}, {"document": "p"})
    samples: ClassVar = {
        "a.nxml": ARTICLE,
        "several.xml": f"<pmc-articleset>{BARE}\n{BARE}</pmc-articleset>",
        "named.jats.xml": f"{DOCTYPE}<article><body><p>a&nbsp;&alpha;&hellip;</p></body></article>",
        "latin.jats": "<?xml version='1.0' encoding='latin-1'?><article><p>é</p></article>".encode("latin-1"),
    }
    broken: ClassVar = {
        "cut.nxml": ARTICLE[:-20],
        "text.nxml": "no tags",
        "none.nxml": "<pmc-articleset/>",
        "empty.nxml": "",
        "blank.nxml": "<article><front><article-meta><volume>3</volume></article-meta></front></article>",
        "laughs.nxml": "<!DOCTYPE article [<!ENTITY a 'ha'>]><article><p>&a;</p></article>",
        "unknown.nxml": f"{DOCTYPE}<article><p>&nosuchthing;</p></article>",
    }


def read(tmp_path: Path, text: str, name: str = "a.nxml", **options: str | list[str]) -> list[Document]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return list(read_documents(tmp_path / name, JatsReaderConfig(**options)))


def texts(document: Document, layer: str) -> list[str]:
    return [entity.text for entity in document.get_layer(layer)]


def test_the_text_is_what_stands_on_the_page_and_the_rest_is_metadata(tmp_path: Path) -> None:
    (document,) = read(tmp_path, ARTICLE)
    assert document.symbols == TEXT
    assert document.metadata.to_json() == {
        "doc_id": "a", "article_type": "research-article", "language": "en", "journal": "J. of Testing", "volume": "4",
        "issue": "2", "year": 2012, "subjects": ["Genetics"], "ids": {"pmid": "12", "doi": "10.1/x"},
    }  # fmt: skip


def test_elements_are_labels(tmp_path: Path) -> None:
    (document,) = read(tmp_path, ARTICLE)
    assert texts(document, "article-title") == ["On ATM", "Metazoan complexity"]
    assert texts(document, "surname") == ["Roca", "McShea", "Chao", "Orr"]
    assert texts(document, "abstract") == ["Aim To test."]
    assert texts(document, "caption") == ["A model. It fits."]
    assert texts(document, "math") == ["x=2"]
    assert texts(document, "mixed-citation") == ["Orr, H.A. (2000). Evolution 54(1):13–20"]
    assert not {"mi", "tex-math", "article", "article-meta", "etal", "contrib-id"} & {*document.layer_names}
    (document,) = read(tmp_path, ARTICLE, attributes=["ref-type", "sec-type"])
    assert texts(document, "xref-bibr") == ["[1]"]
    assert texts(document, "sec-intro")[0].startswith("1. Introduction It is")
    assert document.get_layer("xref-aff")[0].metadata.to_json() == {
        "attributes": {"ref-type": "aff", "rid": "a1"},
        "element": "xref",
    }


def test_what_is_said_of_an_article_is_text_without_its_elements(tmp_path: Path) -> None:
    dates = "".join(f"<pub-date><year>{year}</year></pub-date>" for year in ("9" * 5000, "2010", "in press", "2009"))
    meta = f"{dates}<volume><italic>4</italic> B</volume><article-categories><subject>on <sub>x</sub></subject>"
    source = f"<article><front><article-meta>{meta}</article-categories></article-meta></front><p>a</p></article>"
    (document,) = read(tmp_path, source)
    assert (document.symbols, document.metadata.to_json()) == (
        "a",
        {"doc_id": "a", "volume": "4 B", "year": 2009, "subjects": ["on x"]},
    )


def test_an_element_makes_a_document(tmp_path: Path) -> None:
    references = read(tmp_path, ARTICLE, document="ref")
    assert [(each.id, each.symbols) for each in references] == [
        ("a-1", TEXT.splitlines()[-2]),
        ("a-2", TEXT.splitlines()[-1]),
    ]
    assert references[1].metadata.journal == "J. of Testing"
    assert texts(references[0], "ref") == [references[0].symbols]
    with pytest.raises(DataError, match="holds no element 'verse', which is to make a document"):
        read(tmp_path, ARTICLE, document="verse")


def test_each_article_of_a_set_has_its_own_metadata(tmp_path: Path) -> None:
    bare = ARTICLE.removeprefix(DOCTYPE)
    other = bare.replace("10.1/x", "10.1/y").replace("J. of  Testing", "Other").replace(">2012<", ">1999<")
    answer = (
        "<response><front-stub><article-id>r1</article-id></front-stub><body><p>No.</p></body></response></article>"
    )
    record = f"<OAI-PMH><record>{bare.replace('</article>', answer)}</record><record>{other}</record></OAI-PMH>"
    first, second = read(tmp_path, record)
    assert [first.symbols, second.symbols] == [f"{TEXT}\nNo.", TEXT]
    assert (first.id, first.metadata.ids, first.metadata.year) == ("a", {"pmid": "12", "doi": "10.1/x"}, 2012)
    assert (second.id, second.metadata.ids["doi"], second.metadata.journal) == ("a-2", "10.1/y", "Other")
    assert second.metadata.year == 1999


def test_line_ends_between_tags_are_no_lines(tmp_path: Path) -> None:
    """Some publishers put each element on a line of its own."""
    spread = ARTICLE
    for tag in (
        "<sec",
        "<p>",
        "<title>",
        "<caption>",
        "<ref ",
        "<ref>",
        "<name>",
        "<year>",
        "<source>",
        "<td>",
        "<tr>",
    ):
        spread = spread.replace(tag, f"\n    {tag}")
    (document,) = read(tmp_path, spread)
    assert document.symbols == TEXT.replace("(2000)", "( 2000)")


def test_characters_of_a_dtd_that_is_not_read_are_kept(tmp_path: Path) -> None:
    (document,) = read(tmp_path, f"{DOCTYPE}<article><p>a&nbsp;b &alpha;&ndash;x &NotEqualTilde;</p></article>")
    assert document.symbols == "a\u00a0b α–x ≂̸"
    with pytest.raises(DataError, match="line 2: the entity &nosuch; is not declared here"):
        read(tmp_path, f"{DOCTYPE}<article><p>&nosuch;</p></article>")


@pytest.mark.parametrize("name", ["a.xml", "a.xml.gz", "a.jats.xml", "a.nxml"])
def test_articles_are_recognised(tmp_path: Path, name: str) -> None:
    data = ARTICLE.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    (document,) = read_documents(tmp_path)
    assert (document.symbols, document.id) == (TEXT, "a")


_LEAF = st.sampled_from(["x", "a b", " y", "z ", "(", "\n"])
_TAGS = st.sampled_from(
    ["p", "sec", "title", "label", "italic", "xref", "name", "surname", "year", "mixed-citation", "td"]
)


def _element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(_TAGS, st.lists(inner, max_size=4)).map(lambda each: f"<{each[0]}>{''.join(each[1])}</{each[0]}>")


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(st.recursive(_LEAF, _element, max_leaves=12))
def test_no_character_is_lost_and_each_element_has_its_own(tmp_path_factory: pytest.TempPathFactory, body: str) -> None:
    source = f"<article><body>q{body}</body></article>"
    (document,) = read(tmp_path_factory.mktemp("jats"), source)
    wanted: dict[str, list[str]] = {}
    for element in ET.fromstring(source).iter():
        if text := squeezed("".join(element.itertext())):
            wanted.setdefault(element.tag, []).append(text)
    assert [squeezed(document.symbols or "")] == wanted.pop("article")
    assert {name: [squeezed(text) for text in texts(document, name)] for name in document.layer_names} == wanted
    symbols = document.symbols or ""
    assert symbols == symbols.strip()
    assert "  " not in symbols
