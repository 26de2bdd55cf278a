"""Samples have a share of every kind, no text twice, and are the same for a seed; the page of statistics."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.cli.data import main
from papermage_core.data import read_documents
from papermage_core.data.sampling import least_sure, stratified
from papermage_core.document import Document
from papermage_core.testing import make_document, write_jsonl


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 3))
def test_each_kind_has_its_share_within_one_and_one_at_least(kinds: list[int], n: int, seed: int) -> None:
    strata = np.array(kinds)
    chosen = stratified(strata, n, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(n, len(kinds))
    assert chosen.tolist() == sorted(chosen.tolist()) == stratified(strata, n, seed).tolist()
    counts, total = Counter(strata[chosen].tolist()), Counter(kinds)
    if n >= len(total):
        assert all(counts[kind] >= 1 for kind in total)
        for kind, size in total.items():
            assert counts[kind] <= max(1, size * min(n, len(kinds)) / len(kinds) + 1)


def documents(n: int = 40) -> list[Document]:
    made = []
    for i in range(n):
        document = make_document(f"Case {i // 2 if i < 10 else i} of cystic fibrosis.", doc_id=f"d{i}")
        document.metadata.journal = "rare" if i == 20 else "usual"
        made.append(document)
    return made


def test_the_command_samples_by_metadata_and_takes_no_text_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write_jsonl(documents(), tmp_path / "all.jsonl"), tmp_path / "some.jsonl"
    given = ["sample", str(source), f"output_path={target}", "n=8", "by=journal"]
    assert main(given) == 0
    first = list(read_documents(target))
    assert len(first) == 8
    assert "d20" in {document.id for document in first}
    assert main([*given[:3], "n=100", "overwrite=true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["documents"] == 35
    assert len({document.symbols for document in read_documents(target)}) == 35
    assert main(given) == 3
    assert main([*given[:2], f"output_path={source}", "overwrite=true"]) == 2
    assert main([*given, f"model_name_or_path={tmp_path}"]) == 2


@pytest.mark.parametrize(
    ("option", "hint"), [("by=jornal", "Did you mean 'journal'?"), ("label_field=Disease,tokenz", "mean 'tokens'?")]
)
def test_a_key_or_a_layer_that_no_document_has_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, hint: str
) -> None:
    source, target = (
        write_jsonl([make_document("A flu.", {"Disease": ["flu"]})], tmp_path / "all.jsonl"),
        tmp_path / "s",
    )
    documents = list(read_documents(source))
    documents[0].metadata.journal = "BMC"
    write_jsonl(documents, source)
    assert main(["sample", str(source), f"output_path={target}.jsonl", "n=1", option]) == 3
    assert hint in capfd.readouterr().err
    assert not target.with_suffix(".jsonl").exists()


def test_the_least_sure_are_taken() -> None:
    assert least_sure(iter([-0.1, -2.0, -0.5, -3.0]), 2) == {1, 3}


def test_a_page_of_statistics_has_every_count_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    made = [make_document(f"Case {i} of <b>ataxia</b>.", {"Disease": ["ataxia"]}) for i in range(3)]
    source, page = write_jsonl(made, tmp_path / "a<b>.jsonl"), tmp_path / "stats.html"
    given = ["stats", str(source), "label_field=Disease", f"output_path={page}"]
    assert main(given) == 0
    text = page.read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert "a&lt;b&gt;.jsonl" in text
    assert "Units of Disease" in text
    assert text.count("<svg") == 4
    assert main(given) == 3
    assert main(["stats", str(source), f"output_path={tmp_path / 'a.txt'}"]) == 2
