"""Tables of tokens and tags, as the library ``datasets`` keeps them: Arrow, Parquet and JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents, write_documents
from papermage_core.errors import DataError, PluginError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.hf_table import HfTableReaderConfig, HfTableWriterConfig
from tests.formats.helpers import expected, labels, plain, read_back, tokenized_documents

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["O", "B-Gene", "I-Gene"]
ROWS = [
    {"id": "a", "tokens": ["𝛼", "is", "α"], "ner_tags": [1, 0, 1], "pos": ["N", None, "N"], "year": 2020},
    {"id": "b", "tokens": ["x"], "ner_tags": [-100], "pos": ["N"], "year": None},
    {"id": None, "tokens": ["y", "z"], "ner_tags": [1, 2], "pos": ["N", "N"], "year": 1},
]
TYPES = {"id": pa.string(), "tokens": pa.list_(pa.string()), "ner_tags": pa.list_(pa.int64())}
SCHEMA = pa.schema([*TYPES.items(), ("pos", pa.list_(pa.string())), ("year", pa.int32())])


def with_names(feature: Any = None) -> Any:
    feature = feature or {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
    return SCHEMA.with_metadata({"huggingface": json.dumps({"info": {"features": {"ner_tags": feature}}})})


def arrow(rows: list[dict[str, Any]] = ROWS, schema: Any = None, make: Any = pa.ipc.new_stream) -> bytes:
    file = io.BytesIO()
    schema = schema or with_names()
    with make(file, schema) as stream:
        for row in rows:
            stream.write_batch(pa.RecordBatch.from_pylist([row], schema))
    return file.getvalue()


def parquet(rows: list[dict[str, Any]] = ROWS) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, with_names()), file)
    return file.getvalue()


def changed(**values: Any) -> list[dict[str, Any]]:
    return [ROWS[0], ROWS[1] | values, ROWS[2]]


class TestHfTable(DocumentReaderSuite):
    component = "hf_table"
    options = ({}, {"label_layer": "all"}, {"names": NAMES})
    samples: ClassVar = {
        "a.arrow": arrow(),
        "file.arrow": arrow(make=pa.ipc.new_file),
        "a.parquet": parquet(),
        "a.jsonl": "\n".join(json.dumps(row | {"ner_tags": ["B-X", "O", "I-X"][: len(row["tokens"])]}) for row in ROWS),
    }
    broken: ClassVar = {
        "cut.arrow": arrow()[:-900],
        "cut.parquet": parquet()[:-20],
        "none.arrow": arrow([]),
        "empty.arrow": b"",
        "text.arrow": "tokens and tags",
        "number.arrow": arrow(changed(ner_tags=[9])),
        "short.arrow": arrow(changed(ner_tags=[])),
        "word.arrow": arrow(changed(tokens=[""])),
        "column.jsonl": '{"tokens": ["a"]}',
        "none.jsonl": '{"tokens": ["a"], "ner_tags": null}',
        "dict.json": "[1]",
    }


def test_a_row_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(arrow())
    found = list(iter_documents(tmp_path))
    assert [(each.line, each.document.id, each.document.symbols) for each in found] == [
        (1, "a", "𝛼 is α"), (2, "b", "x"), (3, "a-3", "y z"),
    ]  # fmt: skip
    first = found[0].document
    assert [entity.text for entity in first.Gene] == ["𝛼", "α"]
    assert [token.metadata.to_json() for token in first.tokens] == [{"pos": "N"}, {}, {"pos": "N"}]
    assert first.metadata.columns == {"year": 2020}
    assert found[1].document.layer_names == ["tokens"]
    assert [entity.text for entity in found[2].document.Gene] == ["y z"]
    assert [each.line for each in iter_documents(tmp_path, first=1, every=2)] == [2]


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "List"},
        {"feature": {"num_classes": 3, "names": NAMES, "id": None, "_type": "ClassLabel"}, "length": -1, "id": None},
        [{"names": NAMES, "_type": "ClassLabel"}],
    ],
)
def test_names_of_tags_are_found_as_each_version_writes_them(tmp_path: Path, feature: Any) -> None:
    (tmp_path / "a.arrow").write_bytes(arrow(schema=with_names(feature)))
    assert labels(list(read_documents(tmp_path))) == {"Gene": 3}


@pytest.mark.parametrize("name", ["data", "documents"])
def test_a_column_may_be_called_as_a_list_of_rows_is(tmp_path: Path, name: str) -> None:
    row = {"id": "7", "tokens": ["a", "b"], "ner_tags": ["O", "B-X"], name: ["x", "y"]}
    path = tmp_path / "a.jsonl"
    for content in (json.dumps(row), json.dumps([row]), json.dumps({"data": [row]})):
        path.write_text(content)
        (document,) = read_documents(path)
        assert (document.id, document.X[0].text, document.tokens[1].metadata[name]) == ("7", "b", "y")


def test_tags_without_names_are_refused_until_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(arrow(schema=SCHEMA))
    with pytest.raises(
        DataError, match=r"a.arrow, line 1: ner_tags holds 1.*0 classes have a name; reader.names=O,B-X"
    ):
        list(read_documents(path))
    named = HfTableReaderConfig(names=("O", "B-Drug", "I-Drug"))
    assert labels(list(read_documents(path, named))) == {"Drug": 3}
    other = HfTableReaderConfig(tokens="pos", tags="ner_tags", names=("O", "B-Drug", "I-Drug"))
    with pytest.raises(DataError, match="pos holds what is no token"):
        list(read_documents(path, other))
    with pytest.raises(
        DataError, match=r"has no column of tags, only id, tokens, ner_tags, pos, year; reader.tags=NAME"
    ):
        list(read_documents(path, HfTableReaderConfig(tags="bio")))


def test_one_broken_row_does_not_lose_the_file(tmp_path: Path) -> None:
    for rows, message in (
        (changed(ner_tags=[7]), "3 classes have a name"),
        (changed(ner_tags=[1, 1]), "ner_tags holds 2 values for 1 token"),
        (changed(tokens=[None]), "tokens holds what is no token"),
        (changed(tokens=[], ner_tags=[]), "there is no text"),
    ):
        (tmp_path / "a.arrow").write_bytes(arrow(rows))
        errors: list[DataError] = []
        assert [each.line for each in iter_documents(tmp_path, on_error=errors.append)] == [1, 3]
        (error,) = errors
        assert (error.line, error.path) == (2, tmp_path / "a.arrow")
        assert message in str(error)


def test_rows_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(arrow([ROWS[0]] * 400)[:-2000])
    reading = iter_documents(path)
    assert next(reading).line == 1
    with pytest.raises(DataError, match=r"a.arrow: cannot be read as Arrow"):
        list(reading)


def test_the_splits_of_a_folder_are_read_together(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data-00000-of-00001.arrow").write_bytes(arrow())
        (tmp_path / split / "cache-1.arrow").write_bytes(arrow())
        (tmp_path / split / "state.json").write_text("{}")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = list(iter_documents(tmp_path))
    assert [(each.path.parent.name, each.line) for each in found] == [
        (split, line) for split in ("train", "test") for line in (1, 2, 3)
    ]
    shares = [each.path.parent.name for each in iter_documents(tmp_path, first=1, every=3)]
    assert shares == ["train", "test"]
    assert len(list(iter_documents(tmp_path / "train"))) == 3
    for text, message in (('{"splits": ["../x"]}', "no split '../x'"), ('{"splits": 3}', "names no splits")):
        (tmp_path / "dataset_dict.json").write_text(text)
        with pytest.raises(DataError, match=message):
            list(iter_documents(tmp_path))


def test_discontinuous_entities_are_given_by_the_numbers_of_tokens(tmp_path: Path) -> None:
    row = {"sentence": ["pain", "in", "arm", "leg"], "ner": [{"index": [0, 1, 3], "type": "ADR"}]}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (document,) = read_documents(tmp_path)
    assert document.ADR[0].to_json() == {"spans": [[0, 7], [12, 15]]}
    for index in ([4], [-1], []):
        row["ner"] = [{"index": index, "type": "ADR"}]
        (tmp_path / "a.json").write_text(json.dumps([row]))
        with pytest.raises(DataError, match="cannot be read as an entity"):
            list(read_documents(tmp_path))


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    seen = 0
    for name, found in expected(corpora, "hf_table").items():
        if "tokens" not in found:
            continue
        before = list(read_documents(corpora / "formats" / name))
        assert len(before) == found["rows"], name
        assert sum(len(document.tokens) for document in before) == found["tokens"], name
        assert labels(before) == found["entities"], name
        for file in ("arrow", "parquet"):
            folder = tmp_path / f"{seen}-{file}.hf"
            assert write_documents(before, folder, HfTableWriterConfig(file=file)).losses == {}
            assert plain(list(read_documents(folder))) == plain(before), name
        seen += 1
    assert seen == 4
    assert len(list(read_documents(corpora / "formats" / "hf_table" / "tiny_fabner"))) == 12
    assert labels(list(read_documents(corpora / "formats" / "hf_table" / "w2ner_train.json"))) == {"ADR": 6}


@given(tokenized_documents(" "))
def test_what_is_written_is_read_back(document: Document) -> None:
    (found,), losses = read_back(HfTableWriterConfig(), HfTableReaderConfig(), [document])
    assert set(losses) <= {"overlapping entities"}
    assert found.symbols == document.symbols
    if not losses:
        assert plain([found]) == plain([document])


def test_what_a_table_does_not_hold_is_counted(tmp_path: Path) -> None:
    tokens = [{"spans": [[0, 2]], "metadata": {"pos": "N", "size": 1}}, {"spans": [[4, 5]]}]
    entities = {"tokens": tokens, "X": [{"spans": [[0, 1]], "metadata": {"score": 0.5}}], "rows": tokens}
    document = Document.from_json({"symbols": "ab\n cd", "metadata": {"a": 1}, "entities": entities})
    written = write_documents([document], tmp_path / "a.hf", HfTableWriterConfig(columns=("pos",)))
    assert written.losses == {
        "rows": 2, "entities that end inside a token": 1, "metadata of entities": 1, "white space between tokens": 1,
        "document ids": 1, "metadata of documents": 1, "metadata of tokens": 1,
    }  # fmt: skip
    (found,) = read_documents(tmp_path / "a.hf")
    assert [token.metadata.to_json() for token in found.tokens] == [{"pos": "N"}, {}]
    with pytest.raises(DataError, match="has no tokens"):
        write_documents([Document("a")], tmp_path / "b.hf")


def test_datasets_reads_what_is_written(tmp_path: Path, corpora: Path) -> None:
    datasets = pytest.importorskip("datasets")
    before = list(read_documents(corpora / "formats" / "hf_table" / "tiny_fabner"))
    write_documents(before, tmp_path / "a.hf")
    write_documents(before, tmp_path / "p.hf", HfTableWriterConfig(file="parquet"))
    for found in (
        datasets.load_from_disk(str(tmp_path / "a.hf")),
        datasets.load_dataset(str(tmp_path / "p.hf"), split="train", cache_dir=str(tmp_path / "cache")),
    ):
        assert [row["tokens"] for row in found] == [[token.text for token in d.tokens] for d in before]
        names = found.features["ner_tags"].feature.names
        tags = {names[tag].partition("-")[2] for row in found for tag in row["ner_tags"]} - {""}
        assert tags == set(labels(before))
        found.save_to_disk(str(tmp_path / "again"))
        assert labels(list(read_documents(tmp_path / "again"))) == labels(before)


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.arrow").write_bytes(arrow())
    (tmp_path / "a.parquet").write_bytes(parquet())
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("a.arrow", "a.parquet"):
        with pytest.raises(
            PluginError, match=rf"{name}: reading it needs pyarrow.*pip install 'papermage_core\[parquet\]'"
        ):
            list(read_documents(tmp_path / name))
    with pytest.raises(PluginError, match=r"a.hf: writing it needs pyarrow.*pip install 'papermage_core\[parquet\]'"):
        write_documents([Document("a")], tmp_path / "a.hf")


def test_rows_without_entities_are_known_to_have_none_in_one_layer(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(arrow())
    found = read_documents(tmp_path, HfTableReaderConfig(label_layer="entities"))
    assert [len(document.get_layer("entities")) for document in found] == [2, 0, 1]
