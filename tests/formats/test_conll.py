"""Tables of a token a line: each dialect is read, and what was read is written back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.structure import structure
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.conll import ConllReaderConfig, ConllWriterConfig
from papermage_formats.tags import SCHEMES, encode_tags, tagged_stretches
from tests.formats.helpers import expected, labels, plain, written

BIO = "EU B-ORG\nrejects O\nGerman B-MISC\ncall O\n\nPeter B-PER\nBlackburn I-PER\n"


class TestConll(DocumentReaderSuite):
    component = "conll"
    samples: ClassVar = {
        "a.conll": BIO,
        "crlf.iob": "\ufeff-DOCSTART- O\r\n\r\n\u00a0 O\r\n𝛼-syn S-P\r\n\r\n\r\n-DOCSTART- O\r\nb O\r\n",
        "u.conllu": "# newdoc id = x\n# text = Don't.\n1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n"
        "1\tDo\tdo\tAUX\t_\t_\t0\troot\t_\t_\n2\tn't\tnot\tPART\t_\t_\t1\tadvmod\t_\t_\n"
        "2.1\tx\tx\tX\t_\t_\t_\t_\t_\t_\n3\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_\n",
    }
    texts: ClassVar = {
        "a.conll": [{"ORG": ["EU"], "MISC": ["German"], "PER": ["Peter Blackburn"], "tokens": BIO.split()[::2]}],
        "u.conllu": [{"tokens": ["Don't", "."]}],
    }
    broken: ClassVar = {"columns.conll": "a O\nb\nc O\n", "none.conll": "\n\n", "latin.conll": b"\xe9 O\n"}


def read(path: Path, text: str | bytes = "", **options: Any) -> list[Document]:
    if text:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reader = structure(ConllReaderConfig, options, key="reader", name="conll", sources={})
    return [located.document for located in iter_documents(path, reader=reader)]


def spans(document: Document, name: str) -> list[str]:
    return [entity.text for entity in document.get_layer(name)]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-A I-A O B-A B-A", ["a b", "d", "e"]),
        ("I-A I-A B-A O I-A", ["a b", "c", "e"]),
        ("B-A E-A S-A B-A L-A", ["a b", "c", "d e"]),
        ("B-A I-A L-A U-A U-A", ["a b c", "d", "e"]),
        ("A A O A A", ["a b", "d e"]),
        ("I-<A> <A> I-<A> I-<other> <other>", ["a b", "c"]),
        ("B-<A> I-<A> O I-<A> O", ["a b", "d"]),
    ],
)
def test_every_scheme_is_understood_without_being_told(tmp_path: Path, tags: str, found: list[str]) -> None:
    rows = "\n".join(f"{token}\t{tag}" for token, tag in zip("abcde", tags.split(), strict=True))
    (document,) = read(tmp_path / "a.conll", rows)
    assert spans(document, "A") == found


@pytest.mark.parametrize("ending", ["conll", "tsv"])
@pytest.mark.parametrize("tags", ["B I O B", "I I O I", "B E O S", "B L O U"])
def test_tags_without_labels_are_entities_of_one_kind(tmp_path: Path, tags: str, ending: str) -> None:
    """Corpora of one kind of entity, such as those that BioBERT is tuned on, have nothing after the B."""
    rows = "".join(f"{word}\t{tag}\n" for word, tag in zip("abcd", tags.split(), strict=True))
    (document,) = read_documents(_written(tmp_path / f"x.{ending}", rows))
    assert document.layer_names == ["tokens", "sentences", "entities"]
    assert spans(document, "entities") == ["a b", "d"]
    (document,) = read(tmp_path / f"x.{ending}", label_layer="Disease")
    assert spans(document, "Disease") == ["a b", "d"]
    assert not any(entity.metadata for entity in document.get_layer("Disease"))


@pytest.mark.parametrize("tags", ["B C O A", "B B-X O I-X"])
def test_labels_of_one_letter_stay_labels(tmp_path: Path, tags: str) -> None:
    rows = "".join(f"{word} {tag}\n" for word, tag in zip("abcd", tags.split(), strict=True))
    (document,) = read(tmp_path / "x.conll", rows)
    assert spans(document, "B") == ["a"]


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@given(
    st.lists(st.tuples(st.sampled_from("AC"), st.integers(1, 3), st.integers(0, 2)), max_size=6),
    st.sampled_from(sorted(SCHEMES)),
)
def test_each_scheme_reads_what_it_writes(pieces: list[tuple[str, int, int]], scheme: str) -> None:
    stretches, at = [], 0
    for label, length, gap in pieces:
        stretches.append((label, at, at + length))
        at += length + (gap or scheme in ("io", "plain"))
    lost: Counter[str] = Counter()
    assert tagged_stretches(encode_tags(stretches, at, scheme, lost)) == stretches
    assert not +lost


def test_no_entity_goes_over_a_sentence_border(tmp_path: Path) -> None:
    (document,) = read(tmp_path / "a.conll", "a I-X\n\nb I-X\n")
    assert spans(document, "X") == ["a", "b"]


def test_columns_have_names(tmp_path: Path) -> None:
    text = "EU NNP B-NP B-ORG\nrejects VBZ _ O\n"
    (guessed,) = read(tmp_path / "a.conll", text)
    assert [token.metadata.to_json() for token in guessed.tokens] == [{"pos": "NNP", "chunk": "B-NP"}, {"pos": "VBZ"}]
    (named,) = read(tmp_path / "a.conll", text, columns=("token", "_", "ner", "case"), label_layer="all")
    assert [(e.text, e.label) for e in named.get_layer("all")] == [("EU", "NP")]
    assert [token.metadata.to_json() for token in named.tokens] == [{"case": "B-ORG"}, {"case": "O"}]
    with pytest.raises(DataError, match=r"a.conll, line 1: has 4 columns; named were 2"):
        read(tmp_path / "a.conll", text, columns=("token", "tag"))


def test_the_text_is_the_one_that_the_file_tells_of(tmp_path: Path) -> None:
    placed = "# doc_id = 7\nα 2 3 S-X\n-y 3 5 O\n\nz 9 10 O\n"
    (document,) = read(tmp_path / "a.conll", placed)
    assert (document.symbols, document.id, spans(document, "X")) == ("  α-y\n   z", "7", ["α"])
    (document,) = read(tmp_path / "u.conllu", TestConll.samples["u.conllu"])
    assert (document.symbols, document.id, spans(document, "tokens")) == ("Don't.", "x", ["Don't", "."])
    assert [row[1] for row in document.tokens[0].metadata.words] == ["Do", "n't"]
    (document,) = read(tmp_path / "b.conll", "# text = a  b.\na O\nb O\n. O\n\nc O\n")
    assert document.symbols == "a  b.\nc"


def test_a_number_sign_can_be_a_token(tmp_path: Path) -> None:
    (document,) = read(tmp_path / "a.conll", "# a comment\n#tag B-X\n# O\nend O\n")
    assert spans(document, "tokens") == ["#tag", "#", "end"]
    assert document.sentences[0].metadata.comments == ["a comment"]


def test_errors_have_the_line_of_the_token_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- O\n\na O\n\n-DOCSTART- O\n\n\nb O\nc\n\n-DOCSTART- O\n\nd O\n")
    with pytest.raises(DataError, match=r"a.conll, line 9: has 1 column, other lines have 2"):
        read(path)
    errors: list[DataError] = []
    found = list(iter_documents(path, on_error=errors.append))
    assert [(each.line, each.document.symbols) for each in found] == [(1, "a"), (11, "d")]
    assert [error.line for error in errors] == [9]
    with pytest.raises(DataError, match="line 4: the token is empty"):
        read(path, "a\tO\n\nb\tO\n\tO\n")
    with pytest.raises(DataError, match="line 2: the token is empty"):
        read(path, "a|DT|O cat|NN|B-X\n|DT|O dog|NN|O\nsat|VB|O here|RB|O\n")
    with pytest.raises(DataError, match="line 3: 'b' begins at 0"):
        read(path, "a\t0\t1\tO\n\nb\t0\t1\tO\n")
    with pytest.raises(DataError, match="line 3: is not UTF-8"):
        read(path, b"a\tO\n\n\xe9\tO\n")


def test_documents_are_read_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papermage_formats.conll_blocks._CHUNK", 7)
    path = tmp_path / "a.conll"
    path.write_text("\n".join(f"-DOCSTART- (n{n})\n\nw{n} O\nx B-Y\n" for n in range(8)))
    found = list(iter_documents(path))
    assert [(each.document.id, each.document.symbols) for each in found] == [(f"n{n}", f"w{n} x") for n in range(8)]
    data = path.read_bytes()
    assert all(data[each.byte or 0 :].startswith(f"-DOCSTART- ({each.document.id})".encode()) for each in found)
    assert [each.document.id for each in iter_documents(path, first=1, every=3)] == ["n1", "n4", "n7"]
    sentences = list(iter_documents(path, reader=ConllReaderConfig(document="sentence")))
    assert [each.document.symbols for each in sentences] == [f"w{n} x" for n in range(8)]


def test_what_is_read_is_written_back(tmp_path: Path, corpora: Path) -> None:
    seen = 0
    for name in expected(corpora, "conll"):
        if name.endswith(("licen.tsv", "invalid.conll")):
            continue
        before = read(corpora / "formats" / name, header="header_line" in name)
        keys = {key for document in before for token in document.tokens for key in token.metadata.to_json()}
        columns = ("token", *sorted(keys - {"words", "empty_nodes"}), "tag")
        data, lost = written(ConllWriterConfig(columns=columns).build(), before)
        assert lost == ({"metadata of tokens": 1} if "words" in keys else {}), name
        if "words" not in keys:
            assert plain(read(tmp_path / "back.conll", data, columns=columns)) == plain(before), name
            seen += 1
    assert seen > 15


def test_the_real_files_hold_what_other_tools_find(corpora: Path) -> None:
    seen = 0
    for name, found in expected(corpora, "conll").items():
        path = corpora / "formats" / name
        if "invalid" in name:
            with pytest.raises(DataError, match=r"line 1: has 1 column, other lines have 2"):
                read(path)
        elif "conllu" in found:
            documents = read(path)
            words = [len(t.metadata.get("words", None) or "1") for d in documents for t in d.tokens]
            assert sum(words) == found["conllu"]["tokens"], name
            assert sum(len(d.sentences) for d in documents) == found["conllu"]["sentences"], name
            seen += 1
        elif found.get("entities"):
            documents = read(path)
            assert labels(documents) == found["entities"], name
            assert sum(len(d.sentences) for d in documents) == found["sentences"], name
            seen += 1
    assert seen > 10


def test_the_features_of_grobid_are_read(corpora: Path) -> None:
    for name, found in expected(corpora, "grobid").items():
        if "rows" in found:
            documents = read(corpora / "formats" / name)
            assert sum(len(d.tokens) for d in documents) == found["rows"], name
            assert sum(len(d.sentences) for d in documents) == found["blocks"], name
            fields = {key.strip("<>"): n for key, n in found.get("fields", {}).items() if key != "<other>"}
            assert labels(documents) == fields, name


def test_what_a_table_does_not_hold_is_counted() -> None:
    tokens = [{"spans": [[0, 2]], "boxes": [[0, 0, 1, 1, 0]]}, {"spans": [[4, 5]]}, {"spans": [[5, 6]]}]
    inner = [
        {"spans": [[0, 2]]}, {"spans": [[0, 5]], "metadata": {"score": 0.5}}, {"spans": [[0, 2], [5, 6]]},
        {"spans": [[1, 2]]}, {"spans": [[3, 4]]},
    ]  # fmt: skip
    document = Document.from_json({"symbols": "ab\n cd", "entities": {"tokens": tokens, "x": inner, "rows": tokens}})
    data, lost = written(ConllWriterConfig(comments=False).build(), [document])
    assert data == b"-DOCSTART-\n\nab\tB-x\nc\tI-x\nd\tO\n\n"
    assert lost == {
        "rows": 3, "overlapping entities": 2, "discontinuous entities": 1, "entities that end inside a token": 1,
        "entities without tokens": 1, "metadata of entities": 1, "documents without sentences": 1, "boxes": 1,
        "white space between tokens": 1,
    }  # fmt: skip
    with pytest.raises(DataError, match="has no tokens"):
        written(ConllWriterConfig().build(), [Document("a")])


def test_the_writer_writes_ids_offsets_and_other_columns() -> None:
    entities = {
        "tokens": [{"spans": [[0, 1]], "metadata": {"pos": "N N"}}, {"spans": [[1, 2]]}, {"spans": [[3, 4]]}],
        "sentences": [{"spans": [[0, 2]]}, {"spans": [[3, 4]]}],
        "X": [{"spans": [[0, 2]]}],
    }
    document = Document.from_json({"symbols": "ab\nc", "metadata": {"doc_id": "d 1"}, "entities": entities})
    columns = ("id", "token", "start", "end", "pos", "tag")
    data, lost = written(ConllWriterConfig(columns=columns, scheme="bioes").build(), [document])
    assert data.decode() == ("-DOCSTART-\t(d 1)\n\n1\ta\t0\t1\tN N\tB-X\n2\tb\t1\t2\t_\tE-X\n\n1\tc\t3\t4\t_\tO\n\n")
    assert lost == {}


@pytest.mark.parametrize("columns", [("token", "ner"), ("form", "label"), ("WORD", "tags")])
def test_a_column_has_the_same_names_for_the_writer_as_for_the_reader(tmp_path: Path, columns: tuple[str, ...]) -> None:
    entities = {"tokens": [{"spans": [[0, 1]]}, {"spans": [[2, 3]]}], "X": [{"spans": [[0, 3]]}]}
    document = Document.from_json({"symbols": "a b", "entities": entities})
    data, _ = written(ConllWriterConfig(columns=columns).build(), [document])
    (again,) = read(tmp_path / "x.tsv", data, columns=columns)
    assert spans(again, "X") == ["a b"]


def test_what_comments_say_of_the_file_that_was_read_is_not_written(tmp_path: Path, corpora: Path) -> None:
    (plus,) = read(corpora / "formats" / "conll" / "train.conllup")
    data, _ = written(ConllWriterConfig().build(), [plus])
    (again,) = read(tmp_path / "a.conll", data)
    assert labels([again]) == labels([plus])
    comments = ["global.columns = ID FORM", "newdoc id = x", "sent_id = 1"]
    layers = {"tokens": [{"spans": [[0, 1]]}], "sentences": [{"spans": [[0, 1]], "metadata": {"comments": comments}}]}
    data, lost = written(ConllWriterConfig().build(), [Document.from_json({"symbols": "a", "entities": layers})])
    assert data == b"-DOCSTART-\n\n# sent_id = 1\na\tO\n\n"
    assert lost == {"comments": 2}


def test_an_entity_over_several_sentences_is_one_in_each_and_counted(tmp_path: Path) -> None:
    layers = {
        "tokens": [(0, 1), (2, 3), (4, 5), (6, 7)],
        "sentences": [(0, 3), (4, 5), (6, 7)],
        "X": [(2, 7)],
        "Y": [(0, 1)],
    }
    document = Document.from_text("a b\nc\nd", "7", layers)
    data, lost = written(ConllWriterConfig().build(), [document])
    assert data.decode() == "-DOCSTART-\t(7)\n\na\tB-Y\nb\tB-X\n\nc\tB-X\n\nd\tB-X\n\n"
    assert lost == {"borders of sentences within entities": 2}
    (tmp_path / "a.conll").write_bytes(data)
    (found,) = read_documents(tmp_path)
    assert [entity.text for entity in found.X] == ["b", "c", "d"]


@pytest.mark.parametrize("columns", [("token", "tag"), ("token",), ("pos", "token"), ("token", "pos", "tag")])
def test_a_token_that_looks_like_a_comment_stays_one_token(tmp_path: Path, columns: tuple[str, ...]) -> None:
    words = ["#", "#a", "-DOCSTART-", "# newdoc", "#newdoc", "b c"]
    for label in ([], [{"spans": [[0, 1]]}]):
        documents = [
            Document.from_json({"symbols": word, "entities": {"tokens": [{"spans": [[0, len(word)]]}], "X": label}})
            for word in words
        ]
        data, _ = written(ConllWriterConfig(columns=columns).build(), documents)
        again = read(tmp_path / "a.conll", data, columns=columns)
        assert [len(document.tokens) for document in again] == [1] * len(words)
        assert all(found.tokens[0].text.endswith(word[-1]) for found, word in zip(again, words, strict=True))


@pytest.mark.parametrize("end", [" ", "  ", " \r"])
def test_spaces_behind_tags_are_no_part_of_them(tmp_path: Path, end: str) -> None:
    rows = ["He\tO", "met\tO", "Jane\tB-PER", "Doe\tI-PER", "", "She\tO", "left\tO"]
    (document,) = read(tmp_path / "a.conll", "".join(f"{row}{end if row else ''}\n" for row in rows) + f"x\tO{end}")
    assert document.layer_names == ["tokens", "sentences", "PER"]
    assert spans(document, "PER") == ["Jane Doe"]
    assert document.symbols == "He met Jane Doe\nShe left x"


def test_a_file_that_was_cut_in_a_line_end_is_read(tmp_path: Path) -> None:
    (document,) = read(tmp_path / "a.conll", "a O\r\nb B-X\r")
    assert spans(document, "X") == ["b"]


ONTONOTES = """#begin document (bc/cctv/00/cctv_0000); part 000
bc/cctv/00/cctv_0000   0    0     In    IN  (TOP(S(PP*    -    -   -   Speaker#1        *   (ARGM-TMP*    *    -
bc/cctv/00/cctv_0000   0    1    the    DT        (NP*    -    -   -   Speaker#1   (DATE*            *    *  (12
bc/cctv/00/cctv_0000   0    2   year    NN         *))    -    -   -   Speaker#1       *)           *)    *  12)
bc/cctv/00/cctv_0000   0    3  China   NNP       (NP*)    -    -   -   Speaker#1    (GPE)            *  (V*)   -

bc/cctv/00/cctv_0000   0    0  We    PRP  (TOP(S(NP*)))   -    -   -   Speaker#1   *   -
#end document
#begin document (bc/cctv/00/cctv_0000); part 001
bc/cctv/00/cctv_0000   1    0  Rome  NNP  (TOP(NP*))   -    -   -   Speaker#1   (GPE)   *   (3)
#end document
"""


def entities_of(document: Document) -> dict[str, list[str]]:
    layers = [name for name in document.layer_names if name not in ("tokens", "sentences")]
    return {name: [entity.text for entity in document.get_layer(name)] for name in layers}


def test_tables_of_ontonotes_are_read_with_their_entities(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(ONTONOTES)
    one, other = read_documents(tmp_path / "a.conll")
    assert (one.id, one.symbols) == ("bc/cctv/00/cctv_0000", "In the year China\nWe")
    assert entities_of(one) == {"DATE": ["the year"], "GPE": ["China"]}
    assert one.tokens[0].metadata.to_json() == {
        "pos": "IN", "parse": "(TOP(S(PP*", "lemma": "-", "frameset": "-", "sense": "-", "speaker": "Speaker#1",
        "arguments": "(ARGM-TMP* *", "coreference": "-",
    }  # fmt: skip
    assert (other.id, entities_of(other)) == ("bc/cctv/00/cctv_0000-1", {"GPE": ["Rome"]})


@pytest.mark.parametrize(
    ("content", "symbols", "found"),
    [
        ("a/b 0 0 In IN O\na/b 0 1 Rome NNP B-GPE\n\na/c 0 0 We PRP O\n", "In Rome\nWe", {"GPE": ["Rome"]}),
        ("a/b 0 0 In IN (S* - - - X * - O\na/b 0 1 Rome NN *) - - - X * - B-GPE\n", "In Rome", {"GPE": ["Rome"]}),
        ("B-X\tNew\nI-X\tYork\nO\tis\n", "New York is", {"X": ["New York"]}),
        ("token\tlabel\nRome\tB-X\nis\tO\n", "Rome is", {"X": ["Rome"]}),
        ("# c\n\nWord POS ner_tag\nRome NN B-X\n", "Rome", {"X": ["Rome"]}),
        ("Rome\tB-X\t\nis\tO\t\n", "Rome is", {"X": ["Rome"]}),
        ("word\tO\ntag\tB-X\n", "word tag", {"X": ["tag"]}),
    ],
)
def test_columns_in_other_orders_are_told_apart(
    tmp_path: Path, content: str, symbols: str, found: dict[str, list[str]]
) -> None:
    (tmp_path / "a.conll").write_text(content)
    (document,) = read_documents(tmp_path / "a.conll")
    assert (document.symbols, entities_of(document)) == (symbols, found)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (["Rome X\nis O\n", "Paris X\n"], [{"X": ["Rome"]}, {"X": ["Paris"]}]),
        (["Paris X\n", "Rome X\nis O\n"], [{"X": ["Paris"]}, {"X": ["Rome"]}]),
        (["Rome NN B-X\nis V O\n", "1 CD B-X\n2 CD O\n"], [{"X": ["Rome"]}, {"X": ["1"]}]),
        (["Rome\tNN\tB-X\n", "is\tV\tO\n", "Paris\tN\tB-X\n"], [{"X": ["Rome"]}, {}, {"X": ["Paris"]}]),
    ],
)
@pytest.mark.parametrize("document", ["border", "sentence"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_small_document_has_the_columns_of_its_file(
    tmp_path: Path, parts: list[str], found: list[dict[str, list[str]]], document: str, every: int
) -> None:
    begin = "-DOCSTART-\n\n" if document == "border" else ""
    (tmp_path / "a.conll").write_text("".join(f"{begin}{part}\n" for part in parts))
    reader = ReaderChoice(name="conll", options={"document": document})
    shares = [list(iter_documents(tmp_path / "a.conll", reader=reader, first=i, every=every)) for i in range(every)]
    documents = sorted((located for share in shares for located in share), key=lambda located: located.line or 0)
    assert [entities_of(located.document) for located in documents] == found


def test_columns_that_are_stated_hold_for_every_share_of_a_file(tmp_path: Path) -> None:
    rows = ["1\tRome\tB-X\tN", "1\tParis\tB-X\tN"]
    documents = "".join(f"# newdoc id = {number}\n{row}\n\n" for number, row in enumerate(rows))
    (tmp_path / "a.conllup").write_text(f"# global.columns = ID FORM NER UPOS\n{documents}")
    (located,) = iter_documents(tmp_path / "a.conllup", first=1, every=2)
    assert entities_of(located.document) == {"X": ["Paris"]}


def test_webanno_is_told_which_reader_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("#FORMAT=WebAnno TSV 3.3\n\n\n#Text=Rome\n1-1\t0-4\tRome\tLOC\t\n")
    with pytest.raises(DataError, match=r"line 1: is WebAnno TSV, which reader=webanno reads"):
        list(read_documents(tmp_path / "a.tsv", reader="conll"))


def test_a_header_is_passed_over_where_a_shared_ending_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("token\tlabel\nAspirin\tB-Drug\nis\tO\n")
    (document,) = read_documents(tmp_path / "a.tsv")
    assert [entity.text for entity in document.Drug] == ["Aspirin"]


@pytest.mark.parametrize(
    "content",
    ["token,tag\na,B-X\n", "a;B-X\nb;O\n", 'Sentence #,Word,POS,Tag\nSentence: 1,Rome,NNP,B-geo\n,"a, b",X,O\n'],
)
def test_a_table_with_commas_is_called_that(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.iob").write_text(content)
    with pytest.raises(DataError, match=r"line 1: its columns are divided by commas"):
        list(read_documents(tmp_path / "a.iob"))
    (tmp_path / "a.iob").write_text("a\n,\nO\n1,5\n")  # tokens alone
    assert [len(document.tokens) for document in read_documents(tmp_path / "a.iob")] == [4]
