"""What users keep in metadata may stand under a key that a format uses, too: writers count it, and go on."""

from __future__ import annotations

import datetime
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from papermage_core import Document, read_documents, write_documents
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins

WRITERS = (
    *("brat", "pubtator", "bioc", "bioc_json", "doccano", "label_studio", "conll", "spacy", "tei", "text", "csv"),
    *("pawls", "funsd", "html", "webanno", "dygie"),
)
FOREIGN: tuple[Any, ...] = (
    *(1, "x", True, 1.5, 10**30, [], ["a"], [["a", "b", "c"]], [["a"]], [{}], {}, {"a": {"b": [1]}}),
    *([{"arguments": 1}], [{"arguments": [1, 2]}], [{"arguments": [["a", "T1"]], "label": 5}], [{"head": 0}]),
    *(np.float32(1.5), datetime.date(2020, 1, 1), b"x"),
)
OF_DOCUMENTS = ("relations", "brat", "doccano", "label_studio", "infons", "cats", "user_data", "span_groups", "offset")
OF_ENTITIES = ("id", "attributes", "normalizations", "notes", "infons", "more", "comments", "label", "score", "webanno")


def document(of_document: dict[str, Any], of_entities: dict[str, Any]) -> Document:
    text = "Breast cancer."
    places = [
        {"spans": [[a, b]], "boxes": [[a / 20, 0.1, (b - a) / 20, 0.02, 0]]} for a, b in ((0, 6), (7, 13), (13, 14))
    ]
    whole = {"spans": [[0, 14]], "boxes": [[0, 0, 1, 1, 0]]}
    layers = {"tokens": places, "pages": [whole], "sentences": [whole], "Disease": [{"spans": [[0, 13]]}]}
    made = Document.from_json({"symbols": text, "metadata": {"doc_id": "d"}, "entities": layers})
    for key, value in of_document.items():
        made.metadata[key] = value
    for layer in ("sentences", "Disease"):
        for key, value in of_entities.items():
            made.get_layer(layer)[0].metadata[key] = value
    return made


def losses(writer: str, made: Document, folder: Path) -> dict[str, int]:
    config = Plugins().config_class("document_writer", writer)()
    if config.target == "folder":
        folder.mkdir()
        return dict(config.build().write(iter([made]), folder))
    return dict(config.build().write(iter([made]), io.BytesIO()))


@pytest.mark.parametrize("writer", WRITERS)
def test_no_metadata_keeps_a_document_from_being_written(writer: str, tmp_path: Path) -> None:
    for number, value in enumerate(FOREIGN):
        for key in {"relations", "user_data", "label", "id"}:  # what others may hide, or be hidden by
            of_document, of_entities = (dict.fromkeys({*keys} - {key}, value) for keys in (OF_DOCUMENTS, OF_ENTITIES))
            losses(writer, document(of_document, of_entities), tmp_path / f"{number}-{key}")


@pytest.mark.parametrize("writer", ["brat", "pubtator", "bioc", "doccano", "label_studio", "funsd", "pawls"])
def test_relations_of_another_form_are_counted(writer: str, tmp_path: Path) -> None:
    plain = losses(writer, document({}, {}), tmp_path / "plain").get("relations", 0)
    mine = [{"head": 0, "tail": 1}, {"arguments": [["a", "x"], ["b", "y"], "z"]}]
    assert losses(writer, document({"relations": mine}, {}), tmp_path / "mine")["relations"] == plain + 2


@pytest.mark.parametrize(
    ("writer", "key"), [("doccano", "more"), ("bioc", "more"), ("bioc_json", "more"), ("pawls", "id")]
)
def test_values_that_json_has_no_form_for_name_the_document(writer: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"document 'd': cannot be written as JSON: .* type object"):
        losses(writer, document({}, {key: object()}), tmp_path / "out")


def test_ids_of_any_length_name_files(tmp_path: Path) -> None:
    ids = ["a" * 300, "a" * 299 + "b", "é" * 150, "9" * 5000, "/" * 90]
    for writer in ("brat", "funsd", "pawls"):
        made = [document({"doc_id": name}, {}) for name in ids]
        written = write_documents(made, tmp_path / writer, writer)
        assert written.losses["document ids"] == len(ids)
        back = list(read_documents(tmp_path / writer, writer))
        assert len({each.id for each in back}) == len(ids)


@pytest.mark.parametrize("writer", ["doccano", "label_studio"])
@pytest.mark.parametrize("name", ["7", "007", "\u0663", "\u00b2", "-1", "9" * 15, "9" * 40, "9" * 5000])
def test_ids_that_are_numbers_come_back_as_they_were(writer: str, name: str, tmp_path: Path) -> None:
    write_documents([document({"doc_id": name}, {})], tmp_path / "a.json", writer)
    assert [each.id for each in read_documents(tmp_path / "a.json", writer)] == [name]


@pytest.mark.parametrize("scheme", ["bio", "iob1", "bioes", "bilou", "io", "plain", "grobid"])
def test_labels_that_tags_cannot_hold_are_counted(scheme: str, tmp_path: Path) -> None:
    for number, label in enumerate(["O", "_", "<x>", "B-X", "a\tb", "a\nb", "<other>", "-X-", "B-", "é 😀", "I-<x>"]):
        made = document({}, {"label": label})
        lost = write_documents([made], tmp_path / f"{number}.conll", options={"scheme": scheme}).losses
        back = next(read_documents(tmp_path / f"{number}.conll"))
        found = [
            (entity.metadata.get("label", None) or name, entity.start, entity.end)
            for name in back.layer_names
            for entity in back.get_layer(name)
            if name not in ("tokens", "sentences")
        ]
        told = lost.get("white space in labels", 0) + lost.get("labels that read as others", 0)
        assert told or found == [(label, 0, 13)], (label, found)


def test_keys_of_spacy_come_back_as_they_were(tmp_path: Path) -> None:
    pairs = [["abc", 1], [["._.", "x", None, None], 2]]
    write_documents([document({"user_data": pairs}, {})], tmp_path / "a.spacy")
    kept = next(read_documents(tmp_path / "a.spacy")).metadata["user_data"]
    assert [pair for pair in kept if pair[0] != "doc_id"] == pairs


def test_a_relation_to_nobody_is_not_one_to_somebody(tmp_path: Path) -> None:
    relation = {"label": "x", "arguments": [["head", None], ["child", "T1"]]}
    assert losses("brat", document({"relations": [relation]}, {}), tmp_path / "a")["relations"] == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.bioc.json", json.dumps({"documents": [{"id": "d", "passages": [
            {"offset": 0, "text": "ab"}, {"offset": 10**12, "text": "cd"}]}]})),
        ("b.bioc.json", json.dumps({"documents": [{"id": "d", "passages": [
            {"offset": 0, "sentences": [{"offset": 10**12, "text": "ab"}]}]}]})),
        ("a.conll", f"a\t0\t1\tO\nb\t{10**12}\t{10**12 + 1}\tO\n"),
        ("b.conll", f"a\t0\t1\tO\nb\t{'9' * 5000}\t{'9' * 5000}\tO\n"),
    ],
)  # fmt: skip
def test_offsets_far_away_make_no_text_of_that_length(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=r"leave out [\d,]+ characters|begins at 9+") as caught:
        list(read_documents(tmp_path / name))
    assert caught.value.path == tmp_path / name


@pytest.mark.parametrize("less", [0, 1])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_counts_in_brat_where_the_texts_say_so(mark: str, less: int, tmp_path: Path) -> None:
    text, shift = "Breast cancer, or flu.", 1 - less if mark else 0
    (tmp_path / "a.txt").write_text(mark + text)
    rows = (("T1", 0, 13), ("T2", 18, 21))
    (tmp_path / "a.ann").write_text(
        "".join(f"{name}\tDisease {start + shift} {stop + shift}\t{text[start:stop]}\n" for name, start, stop in rows)
    )
    assert [each.text for each in next(read_documents(tmp_path)).get_layer("Disease")] == ["Breast cancer", "flu"]


def test_tasks_with_proposals_alone_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_documents([document({}, {})] * 2, tmp_path / "a.json", "label_studio")
    assert [each.has_layer("Disease") for each in read_documents(tmp_path / "a.json")] == [False] * 2
    assert "2 tasks have only predictions, which are not read; reader.take=predictions reads them" in caplog.text


def test_what_is_counted_is_what_is_there() -> None:
    """The losses of a plain document are none of those above."""
    lost: Counter[str] = Counter(losses("doccano", document({}, {}), Path()))
    assert set(lost) <= {"tokens", "pages", "sentences", "boxes"}
