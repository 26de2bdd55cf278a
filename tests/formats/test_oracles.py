"""What other libraries write is read as they meant it, and what is written they read: ``pip install .[oracles]``.

spaCy and datasets are asked beside the tests of their formats.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from papermage_core import Document
from papermage_core.data import read_documents, write_documents
from papermage_formats.brat import BratWriterConfig
from papermage_formats.label_studio import LabelStudioReaderConfig, LabelStudioWriterConfig

NAMES = ("BC5CDR-example", "CRAFT-example", "elliptic-coordination", "no-sent-boundary-inside-entity")
Place = tuple[str, tuple[tuple[int, int], ...]]


def places(document: Document, base: int = 0) -> Counter[Place]:
    """Return label and segments of each entity, as a file counts them."""
    return Counter(
        (
            str(entity.metadata.get("label", None) or name),
            tuple((int(span.start) + base, int(span.end) + base) for span in entity.spans),
        )
        for name in document.layer_names
        if name not in ("tokens", "sentences", "passages")
        for entity in document.get_layer(name)
    )


def gold(corpora: Path, name: str) -> Document:
    (document,) = read_documents(corpora / "formats" / "bioc_xml" / f"{name}.xml")
    return document


def of_bioc(collection: Any) -> Counter[Place]:
    return Counter(
        (
            annotation.infons["type"],
            tuple((place.offset, place.offset + place.length) for place in annotation.locations),
        )
        for document in collection.documents
        for passage in document.passages
        for annotation in passage.annotations
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_library_bioc_reads_what_is_written(corpora: Path, tmp_path: Path, name: str) -> None:
    bioc, biocjson = pytest.importorskip("bioc"), pytest.importorskip("bioc.biocjson")
    document = gold(corpora, name)
    write_documents([document], tmp_path / "a.bioc.xml")
    write_documents([document], tmp_path / "a.bioc.json")
    with (tmp_path / "a.bioc.json").open(encoding="utf-8") as file:
        theirs = (bioc.loads((tmp_path / "a.bioc.xml").read_text(encoding="utf-8")), biocjson.load(file))
    for collection in theirs:
        assert of_bioc(collection) == places(document)
        texts = [passage.text for passage in collection.documents[0].passages]
        assert "".join(texts).replace("\n", "") == (document.symbols or "").replace("\n", "")
    (tmp_path / "theirs.xml").write_text(bioc.dumps(theirs[0]), encoding="utf-8")
    (again,) = read_documents(tmp_path / "theirs.xml")
    assert places(again) == places(document)


@pytest.mark.parametrize("name", NAMES)
def test_the_library_bioc_reads_brat_as_written(corpora: Path, tmp_path: Path, name: str) -> None:
    brat = pytest.importorskip("bioc.brat")
    document = gold(corpora, name)
    document.metadata.doc_id = "a"
    BratWriterConfig().build().write([document], tmp_path)
    text = io.StringIO((tmp_path / "a.txt").read_text(encoding="utf-8"))
    with (tmp_path / "a.ann").open(encoding="utf-8") as file:
        theirs = brat.load(text, file)
    assert theirs.text == document.symbols
    found = Counter(
        (entity.type, tuple(sorted((location.begin, location.end) for location in entity.locations)))
        for entity in theirs.entities
    )
    assert found == places(document)


def test_the_library_bioc_reads_pubtator_as_written(corpora: Path, tmp_path: Path) -> None:
    pubtator = pytest.importorskip("bioc.pubtator")
    documents = list(read_documents(corpora / "formats" / "pubtator" / "BC5CDR_Test.PubTator"))
    write_documents(documents, tmp_path / "a.pubtator")
    with (tmp_path / "a.pubtator").open(encoding="utf-8") as file:
        theirs = list(pubtator.load(file))
    assert len(theirs) == len(documents)
    for document, other in zip(documents, theirs, strict=True):
        assert f"{other.title}\n{other.abstract}".rstrip() == document.symbols
        assert Counter((a.type, ((a.start, a.end),)) for a in other.annotations) == places(document)


@pytest.mark.parametrize("kind", ["bioc_xml", "bioc_json", "brat", "conll", "pubtator"])
@pytest.mark.parametrize("name", NAMES)
def test_what_bconv_writes_is_read(corpora: Path, tmp_path: Path, kind: str, name: str) -> None:
    bconv = pytest.importorskip("bconv")
    (document,) = bconv.load(str(corpora / "formats" / "bioc_xml" / f"{name}.xml"), fmt="bioc_xml", byte_offsets=False)
    wanted = places(gold(corpora, name))
    if kind in ("conll", "pubtator") and (len(document) > 2 or any(len(segments) > 1 for _, segments in wanted)):
        pytest.skip(f"{kind} holds no discontinuous entities, and two passages at most")
    options = {"bioc_xml": {"byte_offsets": False}, "bioc_json": {"byte_offsets": False}}.get(kind, {})
    path = tmp_path / {"brat": "a.ann", "conll": "a.conll"}.get(kind, f"a.{kind.replace('_', '.')}")
    with path.open("wb") if kind == "bioc_xml" else path.open("w", encoding="utf-8") as file:
        bconv.dump(document, file, fmt=kind, **options)
    (tmp_path / "a.txt").write_text(document.text, encoding="utf-8")
    (found,) = read_documents(path)
    assert places(found) == wanted


def test_label_studio_exports_what_is_written(corpora: Path, tmp_path: Path) -> None:
    converter = pytest.importorskip("label_studio_sdk.converter")
    documents = list(read_documents(corpora / "formats" / "label_studio" / "spans_relations.json"))
    labels = sorted({label for document in documents for label, _ in places(document)})
    setup = (
        '<View><Labels name="label" toName="text">'
        + "".join(f'<Label value="{label}"/>' for label in labels)
        + '</Labels><Text name="text" value="$text"/></View>'
    )
    config = LabelStudioWriterConfig(give="annotations")
    tasks = tmp_path / "tasks.json"
    write_documents(documents, tasks, config)
    made = json.loads(tasks.read_bytes())
    for number, task in enumerate(made):  # as the server numbers them
        task["id"], task["annotations"][0]["id"] = number, number
    tasks.write_text(json.dumps(made))
    theirs = converter.Converter(setup, project_dir=None)
    theirs.convert_to_json_min(str(tasks), str(tmp_path / "min"), is_dir=False)
    theirs.convert_to_conll2003(str(tasks), str(tmp_path / "conll"), is_dir=False)
    found = list(read_documents(tmp_path / "min" / "result.json", LabelStudioReaderConfig()))
    assert [places(document) for document in found] == [places(document) for document in documents]
    (table,) = (tmp_path / "conll").iterdir()
    (one,) = read_documents(table)
    counts = Counter(label for document in documents for label, _ in places(document).elements())
    assert Counter(label for label, _ in places(one).elements()) == counts
