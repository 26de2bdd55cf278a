from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact import gazetteer as module
from papermage_compact.embedding import GazetteerEmbedding
from papermage_compact.gazetteer import PATTERNS, Gazetteer, GazetteerCounts
from papermage_compact.plugin import CompactConfig
from papermage_compact.words import word_features
from papermage_core.plugin import Context, UnitSpan

SIZES = {"word": 100, "prefix": 100, "suffix": 100, "shape": 100}
LABELS = ("drug", "dose")


def context(words: list[str], gold: list[UnitSpan] | None = None, document: int = -1) -> Context:
    return Context(words=words, space_before=np.ones(len(words), bool), gold=gold, document=document)


@st.composite
def corpora(draw: st.DrawFn) -> list[Context]:
    """Documents of a few contexts of few words, labelled."""
    found = []
    for document in range(draw(st.integers(1, 5))):
        for number in range(draw(st.integers(1, 3))):
            # One word tells contexts apart, since a training context is known again by its words.
            words = [f"c{'x' * document}y{'z' * number}", *draw(st.lists(st.sampled_from("abcD1"), max_size=8))]
            gold, at = [], 0
            while at < len(words):
                size = draw(st.integers(1, 3))
                if draw(st.booleans()) and at + size <= len(words):
                    gold.append(UnitSpan.of(draw(st.sampled_from(LABELS)), at, at + size))
                at += size
            found.append(context(words, gold, document))
    return found


def rows_of(table: Gazetteer, contexts: list[Context]) -> list[list[list[int]]]:
    words = [word for each in contexts for word in each.words]
    lowered = word_features(words, SIZES, 100).lowered
    rows = table.rows(lowered, np.array([len(each) for each in contexts], np.int64))
    ends = np.cumsum([len(each) for each in contexts])
    return [rows[end - len(each) : end].tolist() for each, end in zip(contexts, ends.tolist(), strict=True)]


def counted(contexts: list[Context]) -> Gazetteer:
    counts = GazetteerCounts()
    for each in contexts:
        counts.add(each)
    return counts.gazetteer()


def by_the_definition(train: list[Context], asked: Context, without: int | None) -> list[list[int]]:
    """What the documents but one say of each unit, counted with dictionaries."""
    order: dict[str, int] = {}
    counts: dict[tuple[Any, ...], Counter[int]] = {}
    for each in train:
        assert each.gold is not None
        tags = [0] * len(each)
        for span in sorted(each.gold, key=lambda span: span.stop - span.start):
            label = order.setdefault(span.label, len(order))
            tags[span.start : span.stop] = [1 + 2 * label] + [2 + 2 * label] * (span.stop - span.start - 1)
        if each.document != without:
            for keys, tag in zip(keys_of(each), tags, strict=True):
                for key in keys:
                    counts.setdefault(key, Counter())[tag] += 1
    rows = []
    size = 1 + (1 + 2 * len(order)) * 9
    for keys in keys_of(asked):
        row = []
        for pattern, key in enumerate(keys):
            said = counts.get(key)
            answer = 0
            if said:
                total = sum(said.values())
                tag = min(said, key=lambda tag: (-said[tag], tag))
                share = said[tag] / total
                sure = (share >= 0.7) + (share >= 0.95)
                often = (total >= 2) + (total >= 5)
                answer = 1 + tag * 9 + sure * 3 + often
            row.append(pattern * size + answer)
        rows.append(row)
    return rows


def keys_of(context: Context) -> list[list[tuple[Any, ...]]]:
    words = ["<", *("".join("0" if c.isdigit() else c for c in word.lower()) for word in context.words), ">"]
    return [[(b,), (a, b, 1), (b, c, 2)] for a, b, c in zip(words, words[1:], words[2:], strict=False)]


@given(corpora(), st.lists(st.sampled_from(["a", "b", "c", "d", "D", "7", "new"]), max_size=8))
def test_it_says_what_the_other_documents_say(train: list[Context], words: list[str]) -> None:
    table = counted(train)
    new = context(words)
    known = rows_of(table, [new, *train])
    assert known[0] == by_the_definition(train, new, None)
    for found, each in zip(known[1:], train, strict=True):
        assert found == by_the_definition(train, each, each.document)


@given(corpora())
def test_it_comes_back_from_its_bytes(train: list[Context]) -> None:
    table = counted(train)
    again = Gazetteer.load(table.dump())
    assert again.dump() == table.dump()
    assert rows_of(again, train) == rows_of(table, train)


def test_parts_and_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = [
        context([*rng.choice(list("abcdefgh"), 9), f"n{'x' * i}"], [UnitSpan.of("drug", i % 8, i % 8 + 2)], i // 2)
        for i in range(30)
    ]
    whole = counted(train)
    expected = rows_of(whole, train)
    monkeypatch.setattr(module, "_STEP", 7)
    again = counted(train)
    assert again.dump() == whole.dump()
    assert rows_of(again, train) == expected


def test_memory_is_bounded_by_the_rarest_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 40)
    train = [context(["often", *(f"r{chr(97 + i)}{chr(97 + j)}" for j in range(9))], [], i) for i in range(20)]
    table = counted(train)
    assert len(table.count) <= 40
    ((often, *_), *_) = rows_of(table, [context(["often"])])[0]
    assert often == 1 + 2 * 3 + 2  # outside, always, and often


def test_more_labels_than_tags_share_the_last() -> None:
    train = [context(["a"], [UnitSpan.of(f"l{i}", 0, 1)], i) for i in range(300)]
    table = counted(train)
    assert table.n_tags == 201
    assert int(table.tag.max()) < 201


def test_contexts_that_nobody_labelled_are_not_counted() -> None:
    table = counted([context(["a", "b"])])
    assert not len(table.keys)
    assert rows_of(table, [context(["a", "b"])]) == [[[p * table.size // PATTERNS for p in range(PATTERNS)]] * 2]


@pytest.mark.parametrize("content", [b"", b"nothing", counted([]).dump()[:-9]])
def test_what_is_no_gazetteer_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="gazetteer"):
        Gazetteer.load(content)


@pytest.mark.parametrize(
    "changed",
    [
        {"keys": np.zeros(2, np.uint64)},
        {"starts": np.array([0, 9], np.int64)},
        {"tag": np.array([9], np.uint8)},
        {"n_tags": 0},
        {"contexts": np.zeros(3, np.uint64)},
        {"count": np.ones(1, np.float64)},
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, Any]) -> None:
    sound = attrs.evolve(
        counted([]),
        keys=np.zeros(1, np.uint64),
        starts=np.array([0, 1], np.int64),
        fold=np.zeros(1, np.uint8),
        tag=np.zeros(1, np.uint8),
        count=np.ones(1, np.uint32),
    )
    Gazetteer.load(sound.dump())
    with pytest.raises(ValueError, match="gazetteer"):
        Gazetteer.load(attrs.evolve(sound, **changed).dump())


def test_in_training_it_says_nothing_of_some_units() -> None:
    torch.manual_seed(0)
    embedding = GazetteerEmbedding(3 * 10, 4)
    rows = torch.tensor([[5, 15, 25]] * 1000)
    said, nothing = (embedding.table(torch.tensor([row])) for row in ([5, 15, 25], [0, 10, 20]))
    found = embedding({"gazetteer": rows})
    share = float((found == nothing).all(1).float().mean())
    assert 0.1 < share < 0.3
    assert ((found == nothing).all(1) | (found == said).all(1)).all()
    embedding.eval()
    assert (embedding({"gazetteer": rows}) == said).all()


def test_the_encoder_reads_it() -> None:
    train = [context(["ten", "mg", f"x{'y' * i}"], [UnitSpan.of("dose", 0, 2)], i) for i in range(4)]
    config = CompactConfig(gazetteer="on", width=8, rows=64).settle(train)
    torch.manual_seed(0)
    encoder = config.build().eval()
    ((window,),) = encoder.windows([context(["ten", "mg"])], stride=0)
    assert window.features["gazetteer"].shape == (2, PATTERNS)
    features = encoder.collate([window])
    before = encoder(features)
    with torch.no_grad():
        encoder.gazetteer.table.weight.zero_()
    assert not torch.equal(before, encoder(features))
    assert CompactConfig(gazetteer="off").settle(train).gazetteer_table is None
    assert CompactConfig().needs.gold is False
