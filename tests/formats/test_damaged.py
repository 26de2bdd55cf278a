"""Files damaged at random are refused with an error that has the file, or read; nothing else happens."""

from __future__ import annotations

import copy
import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from papermage_core.errors import DataError
from papermage_formats.alto import AltoReaderConfig
from papermage_formats.bioc import BiocReaderConfig
from papermage_formats.coco import CocoReaderConfig
from papermage_formats.conll import ConllReaderConfig
from papermage_formats.doccano import DoccanoReaderConfig
from papermage_formats.dygie import DygieReaderConfig
from papermage_formats.funsd import FunsdReaderConfig
from papermage_formats.hf_table import HfTableReaderConfig
from papermage_formats.hocr import HocrReaderConfig
from papermage_formats.jats import JatsReaderConfig
from papermage_formats.label_studio import LabelStudioReaderConfig
from papermage_formats.page_xml import PageXmlReaderConfig
from papermage_formats.pawls import PawlsReaderConfig
from papermage_formats.pubtator import PubtatorReaderConfig
from papermage_formats.spacy import SpacyReaderConfig
from papermage_formats.tei import TeiReaderConfig
from papermage_formats.uima import UimaReaderConfig
from tests.formats import (
    test_bioc,
    test_coco,
    test_conll,
    test_doccano,
    test_dygie,
    test_funsd,
    test_jats,
    test_label_studio,
    test_pubtator,
    test_scanned,
    test_spacy,
    test_tei,
    test_uima,
)
from tests.formats.test_pawls import annotation, structure

PIECES = (b"null", b"-1", b"{}", b"[]", b'"x"', b"1e999", b"\x00", b"9" * 20, b"true", b"<a>", b"\n", b"\xff")

ODD = (None, -1, 10**30, 1e300, "", "x", [], [1], [[0, 1]], {}, {"a": 1}, True, 10**12)


def samples() -> list[Any]:
    found = [
        (config, name, content if isinstance(content, bytes) else content.encode())
        for config, suite in (
            (ConllReaderConfig(), test_conll.TestConll),
            (DygieReaderConfig(), test_dygie.TestDygie),
            (FunsdReaderConfig(), test_funsd.TestFunsd),
            (SpacyReaderConfig(), test_spacy.TestSpacy),
            (TeiReaderConfig(), test_tei.TestTei),
            (JatsReaderConfig(), test_jats.TestJats),
            (AltoReaderConfig(), test_scanned.TestAlto),
            (HocrReaderConfig(), test_scanned.TestHocr),
            (PageXmlReaderConfig(), test_scanned.TestPageXml),
            (BiocReaderConfig(), test_bioc.TestBioc),
            (DoccanoReaderConfig(), test_doccano.TestDoccano),
            (LabelStudioReaderConfig(), test_label_studio.TestLabelStudio),
            (PubtatorReaderConfig(), test_pubtator.TestPubtator),
            (UimaReaderConfig(), test_uima.TestUima),
            (CocoReaderConfig(), test_coco.TestCoco),
        )
        for name, content in suite.samples.items()
        if not name.endswith(".pdf")
    ]
    found.append((PawlsReaderConfig(), "pdf_structure.json", json.dumps(structure()).encode()))
    found.append((PawlsReaderConfig(), "a_annotations.json", json.dumps({"annotations": [annotation()]}).encode()))
    return [pytest.param(*each, id=each[1]) for each in found]


def put_beside(folder: Path) -> None:
    """Write what some of the samples are read with."""
    (folder / "pdf_structure.json").write_text(json.dumps(structure()))
    for name in ("p.pdf", "q.pdf"):
        (folder / name).write_bytes(test_coco.PAPER)


def check(config: Any, path: Path, content: bytes, packed: bool = False, times: int = 60) -> None:
    chance = random.Random(path.name)
    content = zlib.decompress(content) if packed else content
    for _ in range(times):
        data = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(data))
            cut = chance.choice((0, 1, 3, 20))
            data[at : at + cut] = chance.choice((*PIECES, bytes([chance.randrange(256)]), b""))
            data = data or bytearray(b"x")
        path.write_bytes(zlib.compress(data) if packed else data)
        errors: list[DataError] = []
        found = [each.document.to_json() for each in config.build().read(path, on_error=errors.append)]
        assert found or errors
        assert all(error.path == path for error in errors)


@pytest.mark.parametrize(("config", "name", "content"), samples())
def test_only_data_errors_come_of_damaged_files(tmp_path: Path, config: Any, name: str, content: bytes) -> None:
    put_beside(tmp_path)
    check(config, tmp_path / name, content, packed=name.endswith(".spacy"))


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value stands in a value of JSON."""
    yield place
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*place, key))


@pytest.mark.parametrize(("config", "name", "content"), [each for each in samples() if "json" in str(each.id)])
def test_only_data_errors_come_of_values_of_another_kind(
    tmp_path: Path, config: Any, name: str, content: bytes
) -> None:
    put_beside(tmp_path)
    text = content.decode("utf-8-sig").strip()
    value = json.loads(text.splitlines()[0] if name.endswith("l") else text)
    chance = random.Random(name)
    for place in chance.sample(list(places(value)), k=min(30, len(list(places(value))))):
        for odd in chance.sample(ODD, k=4):
            damaged = holder = copy.deepcopy([value])
            for key in (path := (0, *place))[:-1]:
                holder = holder[key]
            holder[path[-1]] = odd
            (tmp_path / name).write_text(json.dumps(damaged[0]))
            errors: list[DataError] = []
            for each in config.build().read(tmp_path / name, on_error=errors.append):
                each.document.to_json()
            assert all(error.path == tmp_path / name for error in errors)


def test_only_data_errors_come_of_damaged_tables(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from tests.formats import test_hf_table

    for name, content in test_hf_table.TestHfTable.samples.items():
        data = content if isinstance(content, bytes) else content.encode()
        check(HfTableReaderConfig(), tmp_path / name, data, times=150)
