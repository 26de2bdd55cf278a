"""Tables of a token a row: pandas' and Kaggle's CSV and TSV, held against the module csv and a decoding by hand."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import read_documents, write_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.token_table import TokenTableReaderConfig

KAGGLE = """Sentence #,Word,POS,Tag
Sentence: 1,Thousands,NNS,O
,"New, York",NNP,B-geo
,\"\"\"\",``,O
,"two
lines",NN,I-geo
Sentence: 2,BBC,NN,B-org
,News,NN,I-org
"""
IDS = "sentence_id,words,labels\n0,a,O\n0,b,B-X\n1,c,B-X\n1,d,I-X\n"
DOCUMENTS = "doc_id;sentence_id;word;tag\nd1;1;a;B-X\n;;b;I-X\n;2;c;B-X\nd2;2;a;\n"


class TestTokenTable(DocumentReaderSuite):
    component = "token_table"
    samples: ClassVar[dict[str, bytes | str]] = {
        "kaggle.csv": KAGGLE,
        "ids.csv": IDS,
        "documents.csv": DOCUMENTS,
        "tabs.tsv": IDS.replace(",", "\t"),
        "index.csv": ",word,tag\n0,a,B-X\n1,b,I-X\n\n2,c,O\n",
    }
    bad: ClassVar[dict[str, bytes | str]] = {
        "empty.csv": "",
        "header.csv": "word,tag\n",
        "short.csv": KAGGLE + ",x,y\n",
        "open.csv": KAGGLE + ',"x,y,O\n',
        "blank.csv": KAGGLE + ",,NN,O\n",
        "latin.csv": KAGGLE.replace("News", "é").encode("latin-1"),
    }


def read(folder: Path, text: str | bytes, name: str = "a.csv", **options: Any) -> list[Document]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    if not options:
        assert [each.to_json() for each in read_documents(folder)] == [each.to_json() for each in read_documents(path)]
    return list(read_documents(path, reader=TokenTableReaderConfig(**options)))


def entities(document: Document) -> list[tuple[str, list[str]]]:
    """Return layer and tokens of each entity, in the order of the text."""
    found = [
        (each.spans[0].start, name, each) for name in document.layer_names[2:] for each in document.get_layer(name)
    ]
    return [
        (name, [token.text for token in each.intersect_by_span("tokens")])
        for _, name, each in sorted(found, key=lambda each: each[:2])
    ]


@pytest.mark.parametrize(
    "change",
    [
        str,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("New, York", "New York").replace(",", ";"),
        lambda text: text.replace("New, York", "New York").replace(",", "\t"),
    ],
)
def test_a_table_of_kaggle_is_read_however_it_was_saved(tmp_path: Path, change: Any) -> None:
    (document,) = read(tmp_path, change(KAGGLE))
    words = ["Thousands", document.tokens[1].text, '"', document.tokens[3].text, "BBC", "News"]
    assert [token.text for token in document.tokens] == words
    assert words[1].replace(",", "") == "New York"
    assert words[3].split() == ["two", "lines"]
    assert [token.metadata.pos for token in document.tokens] == ["NNS", "NNP", "``", "NN", "NN", "NN"]
    assert [(each.metadata.id, len(each.intersect_by_span("tokens"))) for each in document.sentences] == [
        ("Sentence: 1", 4),
        ("Sentence: 2", 2),
    ]
    assert entities(document) == [("geo", [words[1]]), ("geo", [words[3]]), ("org", ["BBC", "News"])]


def test_documents_are_told_by_a_column_or_are_sentences(tmp_path: Path) -> None:
    first, second = read(tmp_path, DOCUMENTS)
    assert [first.id, first.symbols, second.id, second.symbols] == ["d1", "a b\nc", "d2", "a"]
    assert [entities(first), entities(second)] == [[("X", ["a", "b"]), ("X", ["c"])], []]
    sentences = read(tmp_path, DOCUMENTS, document="sentence")
    assert [(each.id, each.symbols) for each in sentences] == [("a-1", "a b"), ("a-2", "c"), ("a-3", "a")]
    assert [each.symbols for each in read(tmp_path, "word,tag\na,O\n\n,\nb,O\n", document="sentence")] == ["a", "b"]
    text = "a|b|c\nx|B-X|1\n'|O|1\n"
    (named,) = read(tmp_path, text, token="a", tag="b", sentence="c", label_layer="found", delimiter="|")
    assert [(each.text, each.metadata.label) for each in named.found] == [("x", "X")]
    (marks,) = read(tmp_path, 'word,tag\n",O\na,B-X\n', quotes=False)
    assert [token.text for token in marks.tokens] == ['"', "a"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (KAGGLE + ",x,y\n", "line 9: has 3 cells, and the first line 4"),
        (KAGGLE + ',"x,y,O\n', "line 9: is no row of a table: unexpected end of data; reader.quotes=false takes"),
        (KAGGLE + ",,NN,O\n", "line 9: the token is empty"),
        (KAGGLE.replace("News", "é").encode("latin-1"), "line 8: is not UTF-8: .*; reader.encoding=NAME"),
        (
            KAGGLE.partition("\n")[2],
            "line 1: the first line names no column of tokens, but: 'Sentence: 1', 'Thousands'",
        ),
        (
            "text,label\ngood,pos\n",
            "line 1: the first line names no column of tokens, but: 'text', 'label'; type reader",
        ),
        ("tokens,tags\n\"['a']\",\"['O']\"\n", "line 2: the cells hold lists, .* for reader=hf_table"),
        ("word,tag\na,0\nb,3\n", "line 2: the tags are numbers"),
        ("word,tag,ner\na,NN,O\n", "line 1: which column is it: 'tag', 'ner'[?] type reader.tag=NAME"),
        ("word,tag,a,a\nx,O,1,2\n", "line 1: two columns are called 'a'"),
        ("word,tag\n", "there is no token"),
        ("\n", "line 1: the first line is empty"),
    ],
)
def test_what_is_no_table_of_tokens_says_why(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=rf"a\.csv(: |, ){told}"):
        read(tmp_path, text, delimiter="")


def test_columns_and_delimiters_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no column 'wrod'; there are: 'word', 'tag'\. Did you mean 'word'\?"):
        read(tmp_path, "word,tag\na,O\n", token="wrod")
    with pytest.raises(DataError, match="';;' is no delimiter"):
        read(tmp_path, "word,tag\na,O\n", delimiter=";;")


def test_what_the_writer_csv_wrote_is_told(tmp_path: Path) -> None:
    write_documents(read(tmp_path, IDS), tmp_path / "b.csv")
    with pytest.raises(
        DataError, match=r"b\.csv, line 1: is a table of entities, as writer=csv writes it, .* as \.jsonl"
    ):
        list(read_documents(tmp_path / "b.csv"))


def test_other_tables_of_a_folder_are_nobodys(tmp_path: Path) -> None:
    """Notes beside documents are not read with them, and tables that conll reads remain its own."""
    write_documents(read(tmp_path, IDS), tmp_path / "b.csv")
    (tmp_path / "notes.csv").write_text("file,label,word\na,pos,one\nb,neg,two\n")
    (tmp_path / "c.tsv").write_text("token\ttag\na\tB-X\nb\tO\n")
    assert [each.id for each in read_documents(tmp_path)] == ["a", "c"]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.text(st.sampled_from("ab,;\"'\n\té🧬["), min_size=1).filter(lambda word: word.strip(" \t\n")),
                st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]),
            ),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(",;\t"),
    st.booleans(),
)
def test_tables_of_the_module_csv_are_read(sentences: list[list[tuple[str, str]]], delimiter: str, once: bool) -> None:
    """The oracle: csv's own rows, and entities that begin at B and go on at I of the same label."""
    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=delimiter)
    writer.writerow(["Sentence #", "Word", "Tag"])
    for number, sentence in enumerate(sentences):
        for i, (word, tag) in enumerate(sentence):
            writer.writerow([f"s{number}" if not (once and i) else "", word, tag])
    expected: list[tuple[str, list[str]]] = []
    for sentence in sentences:
        last = "O"
        for word, tag in sentence:
            if tag[0] == "B" or (tag[0] == "I" and last[1:] != tag[1:]):
                expected.append((tag[2:], []))
            if tag != "O":
                expected[-1][1].append(word.strip())
            last = tag
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(target.getvalue().encode())
        (document,) = read_documents(path, reader="token_table")
    words = [[word.strip() for word, _ in sentence] for sentence in sentences]
    assert document.symbols == "\n".join(" ".join(each) for each in words)
    plain = [(name, [re.sub(r"\n", " ", word) for word in own]) for name, own in expected]
    assert entities(document) == plain
