from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.data.corpus import Corpus
from papermage_core.data.dealing import deal, even_sizes
from papermage_core.training.prepare import Preparation

Labelled = list[dict[str, int]]
"""Label → how many entities of each document."""


def written(folder: Path, documents: Labelled, texts: list[int] | None = None) -> Path:
    lines = []
    for number, labels in enumerate(documents):
        text = f"word {number if texts is None else texts[number]}"
        unit = [{"spans": [[0, 4]]}]
        gold: dict[str, Any] = {name: [{"spans": [[0, 4]]}] * labels.get(name, 0) for name in "abc"}
        entities = {"tokens": unit, "pages": unit, **gold}
        lines.append(json.dumps({"symbols": text, "metadata": {}, "entities": entities, "relations": {}}) + "\n")
    (folder / "made.jsonl").write_text("".join(lines))
    return folder / "made.jsonl"


def corpus_of(path: Path, fields: str = "a,b,c", context: str = "pages") -> Corpus:
    config = EntityClassificationTrainConfig(data_path=path, label_field=fields, context_name=context, cache=False)
    return Preparation(config=config, components=config.components()).documents()


def presence(corpus: Corpus, part: np.ndarray, label: str, parts: int) -> list[int]:
    """Count the documents of each part that have a label, from the documents themselves."""
    has = [any(gold.label == label for of_task in parsed.gold for gold in of_task or ()) for parsed in corpus]
    return [int(sum(has[i] for i in np.flatnonzero(part == number))) for number in range(parts)]


@settings(max_examples=15, deadline=None)
@given(
    documents=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 3)), min_size=6, max_size=30),
    parts=st.integers(2, 5),
    seed=st.integers(0, 5),
)
def test_parts_have_their_size_and_their_share_of_the_rarest_label(
    tmp_path_factory: pytest.TempPathFactory, documents: Labelled, parts: int, seed: int
) -> None:
    documents[0] = {"a": 1, "b": 1, "c": 1}
    corpus = corpus_of(written(tmp_path_factory.mktemp("made"), documents))
    sizes = even_sizes(len(documents), parts)
    part = deal(corpus, sizes, seed)
    assert np.bincount(part, minlength=parts).tolist() == sizes
    assert (part == deal(corpus, sizes, seed)).all()
    frequency = {label: sum(label in document for document in documents) for label in "abc"}
    counts = presence(corpus, part, min(frequency, key=frequency.__getitem__), parts)
    if len(set(frequency.values())) == 3:
        assert max(counts) - min(counts) <= 1


def test_documents_of_one_text_are_in_one_part(tmp_path: Path) -> None:
    texts = [0, 1, 2, 0, 3, 4, 1, 5, 0, 6, 7, 8]
    corpus = corpus_of(written(tmp_path, [{"a": 1, "b": 1, "c": 1}] * 12, texts))
    part = deal(corpus, (4, 4, 4), 0)
    for text in set(texts):
        assert len({int(part[i]) for i, each in enumerate(texts) if each == text}) == 1


def test_a_label_of_few_documents_is_in_every_fold_and_in_the_documents_set_aside(
    tmp_path: Path,
) -> None:
    documents: Labelled = [{"a": 1} for _ in range(40)]
    for i in (0, 1, 2, 3):  # all at the start of the file
        documents[i] = {"a": 1, "b": 1}
    documents[5]["c"] = 1
    path = written(tmp_path, documents)
    corpus = corpus_of(path)
    for seed in range(5):
        assert presence(corpus, deal(corpus, (10, 10, 10, 10), seed), "b", 4) == [1, 1, 1, 1]
        config = EntityClassificationTrainConfig(
            data_path=path, label_field="a,b,c", val_split=0.25, cache=False, seed=seed
        )
        splits = Preparation(config=config, components=config.components()).splits()
        assert splits.val is not None
        assert splits.val.entities == {"a": 10, "b": 1}  # c, which one document has, is learnt


@pytest.mark.parametrize(("count", "having", "share"), [(12, 1, 0.2), (40, 4, 0.1), (12, 12, 0.99)])
def test_documents_in_which_nothing_is_marked_or_all_is_are_not_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int, having: int, share: float
) -> None:
    """Every model would score 0 on the former, and the first be kept as the best."""
    path = written(tmp_path, [{"a": 1} if i < having else {"a": 0} for i in range(count)])
    config = EntityClassificationTrainConfig(data_path=path, label_field="a", val_split=share, cache=False)
    with caplog.at_level("WARNING"):
        splits = Preparation(config=config, components=config.components()).splits()
    assert splits.val is None
    assert len(splits.train) == count
    assert "nothing is validated" in caplog.text


def test_another_seed_deals_otherwise(tmp_path: Path) -> None:
    corpus = corpus_of(written(tmp_path, [{"a": 1, "b": 1, "c": 1}] * 20))
    assert (deal(corpus, (10, 10), 1) != deal(corpus, (10, 10), 2)).any()


def test_the_labels_of_real_references_are_spread_over_the_folds(corpora: Path) -> None:
    fields = ["publisher", "citation_number", "url", "editor", "edition", "translator"]
    corpus = corpus_of(corpora / "anystyle_references" / "train.jsonl", ",".join(fields))
    part = deal(corpus, even_sizes(len(corpus), 5), 470)
    for label in fields:
        counts = presence(corpus, part, label, 5)
        assert max(counts) - min(counts) <= 3, (label, counts)
