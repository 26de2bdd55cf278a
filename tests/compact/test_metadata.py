"""The units' own metadata: which keys are read, what their values become, and what happens where they are lacking."""

from __future__ import annotations

import logging
import math
from itertools import pairwise

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_compact.metadata import Column, MetadataCounts, columns_of, metadata_rows, metadata_values
from papermage_compact.plugin import CompactConfig
from papermage_core.config.structure import learned_values, structure, unstructure, with_learned
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.units import Parser
from papermage_core.document import Document, Entity, Layer, Metadata, Span
from papermage_core.plugin import Context
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

SMALL = {"width": 16, "rows": 64, "layout": "off"}
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["a", "b", "", "\ud800"]),
    st.floats(allow_nan=True, allow_infinity=True), st.just([1]), st.just({"x": 1}), st.just(10**400),
)  # fmt: skip


def context(n: int = 40, **metadata: object) -> Context:
    return Context(words=["a"] * n, space_before=np.ones(n, bool), metadata=metadata)


def chosen(*contexts: Context, metadata: tuple[str, ...] = ("auto",)) -> dict[str, Column]:
    settled = CompactConfig(metadata=metadata).settle(contexts)
    return {column.key: column for column in columns_of(settled.metadata_columns)}


@pytest.mark.parametrize(
    ("values", "is_read"),
    [
        ([True, False] * 20, True),
        (["start", "in", "in", "end"] * 10, True),
        ([3, 1, 2, 3] * 10, True),
        ([True, None] * 20, True),
        ([0.1 * (i * 7 % 40) for i in range(40)], True),
        ([None] * 40, False),
        ([True] * 40, False),
        (list(range(40)), False),
        ([f"word{i}" for i in range(40)], False),
        ([["a"], {"b": 1}] * 20, False),
        ([math.nan, math.inf] * 20, False),
        (["x" * 1000, "y" * 1000] * 20, False),
    ],
    ids=str,
)
def test_auto_reads_keys_whose_values_recur_and_vary(values, is_read):
    assert ("key" in chosen(context(key=values))) is is_read


def test_auto_leaves_out_keys_that_hardly_any_unit_has():
    contexts = [context(), *([context(1)] * 1000), context(rare=[True, False] * 5 + [None] * 30)]
    assert chosen(*contexts) == {}


def test_named_keys_are_read_whether_auto_would_or_not():
    assert set(chosen(context(one=[1] * 40, two=[2] * 40), metadata=("one",))) == {"one"}
    for none in ((), ("none",)):
        assert chosen(context(one=[1, 2] * 20), metadata=none) == {}


def test_a_named_key_that_no_unit_has_is_said(caplog):
    assert set(chosen(context(bold=[True, False] * 20), metadata=("blod", "bold"))) == {"bold"}
    assert "goes without: blod" in caplog.text


def test_what_is_asked_of_documents():
    assert CompactConfig().needs.all_metadata
    settled = CompactConfig(layout="off").settle([context(bold=[True, False] * 20)])
    assert settled.needs.metadata == ("bold",)
    assert not settled.needs.all_metadata
    assert not CompactConfig(metadata=("none",)).needs.all_metadata


def test_fonts_are_left_to_the_layout_where_there_is_one():
    boxes = np.tile(np.array([0.1, 0.1, 0.2, 0.2], np.float32), (40, 1))
    fonts = {"fontname": ["Times", "Courier"] * 20, "bold": [True, False] * 20}
    assert set(chosen(attrs.evolve(context(**fonts), boxes=boxes))) == {"bold"}
    assert set(chosen(context(**fonts))) == {"bold", "fontname"}
    unwanted = CompactConfig(layout="off").settle([context(**fonts)])
    assert unwanted.metadata == ("bold",)
    assert CompactConfig(layout="off", metadata=("fontname",)).settle([context(**fonts)]).metadata == ("fontname",)


@given(st.lists(st.lists(VALUES, min_size=1, max_size=8), min_size=1, max_size=4), st.booleans())
def test_every_value_has_a_row_of_its_column(contexts, is_number):
    columns = (
        Column("other", values=("x",)),
        Column("key", bounds=(-1.0, 0.5)) if is_number else Column("key", values=("a", True, 2)),
    )
    given_contexts = [context(len(values), key=values) for values in contexts]
    rows = metadata_rows(columns, [metadata_values(column, given_contexts) for column in columns])
    assert rows[:, 0].tolist() == [0] * len(rows)
    for value, row in zip((value for values in contexts for value in values), rows[:, 1].tolist(), strict=True):
        own = row - columns[0].size
        if is_number:
            plain = type(value) in (int, float) and abs(value) < 1e300
            assert own == ((2 + sum(value >= bound for bound in (-1.0, 0.5))) if plain else 0)
        elif isinstance(value, (list, dict)) or value is None:
            assert own == 0
        else:
            known = [kept for kept in ("a", True, 2) if kept == value]
            assert own == (2 + ("a", True, 2).index(known[0]) if known else 1)


def test_numbers_fall_into_buckets_of_like_size():
    random = np.random.default_rng(1)
    values = random.exponential(size=3000).tolist()
    column = chosen(context(3000, size=values))["size"]
    assert all(a < b for a, b in pairwise(column.bounds))
    counts = np.bincount(column.rows(values))[2:]
    assert len(counts) == len(column.bounds) + 1 >= 12
    assert counts.min() > 0.6 * counts.max()


def test_counting_is_the_same_however_long_the_corpus_and_bounded():
    counts = MetadataCounts()
    for i in range(300):
        counts.add(context(400, x=[float((i * 400 + j) * 7919 % 120_011) for j in range(400)]))
    (column,) = counts.chosen(("auto",))
    expected = [120_011 * (k + 1) / 16 for k in range(15)]
    assert np.allclose(column.bounds, expected, rtol=0.03)


@settings(max_examples=15)
@given(st.lists(VALUES, min_size=1, max_size=30))
def test_any_values_can_be_counted_and_kept(values):
    contexts = [context(len(values), key=values)] * 8
    config = CompactConfig(**SMALL).settle(contexts)
    kept = structure(CompactConfig, unstructure(config), key="encoder", name="compact")
    kept = with_learned(kept, learned_values(config))
    assert kept == config
    encoder = kept.build()
    windows = [window for found in encoder.windows(contexts, stride=0) for window in found]
    assert encoder(encoder.collate(windows)).isfinite().all()


@pytest.mark.parametrize(
    "dumped", ['{"key": "a"}', "[]", "{", '{"key": 1, "values": [], "bounds": [], "always": true}']
)
def test_a_damaged_description_is_refused(dumped):
    with pytest.raises(ValueError, match=r"describe|Expecting"):
        columns_of([dumped])


def test_a_corpus_without_metadata_pays_nothing():
    encoder = CompactConfig(**SMALL).settle([context()]).build()
    assert encoder.metadata is None
    (window,) = encoder.windows([context(bold=[True] * 40)], stride=0)[0]
    assert "metadata" not in window.features


def test_a_config_that_was_settled_before_metadata_was_read_builds_what_it_built():
    old = CompactConfig(**SMALL)  # of a checkpoint: no learned values, the option by default
    assert old.build().metadata is None
    new = CompactConfig(**SMALL, metadata=("none",)).settle([context()]).build()
    assert set(old.build().state_dict()) == set(new.state_dict())


def test_units_that_lack_what_all_units_had_are_said_once(caplog):
    config = CompactConfig(**SMALL).settle([context(bold=[True, False] * 20, rare=[1] * 10 + [None] * 30)])
    encoder = config.build()
    encoder.windows([context(bold=[True] * 40), context(0)], stride=0)
    assert caplog.text == ""
    for _ in range(2):
        encoder.windows([context(3), context(2)], stride=0)
    assert len(caplog.records) == 1
    assert "no metadata bold, which" in caplog.text


def test_what_only_metadata_say_can_be_learned():
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    contexts = [context(20, bold=(random.random(20) < 0.5).tolist()) for _ in range(30)]
    encoder = CompactConfig(width=16, rows=64, dropout=0.0).settle(contexts).build()
    score = torch.nn.Linear(16, 2)
    windows = [window for found in encoder.windows(contexts, stride=0) for window in found]
    gold = torch.tensor([[int(bold) for bold in each.metadata["bold"]] for each in contexts])
    optimizer = torch.optim.AdamW([*encoder.parameters(), *score.parameters()], lr=1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(score(encoder(encoder.collate(windows))).flatten(0, 1), gold.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.eval()
    found = score(encoder(encoder.collate(windows))).argmax(2)
    assert (found == gold).float().mean() > 0.98


def document(bold: list[bool] | None, gold: list[int]) -> Document:
    words = ["heading" if i % 2 else "text" for i in range(len(gold))]
    symbols, tokens = " ".join(words), []
    for word in words:
        start = tokens[-1].spans[0].end + 1 if tokens else 0
        tokens.append(Entity(spans=[Span(start, start + len(word))]))
    for token, value in zip(tokens, bold or [], strict=False):
        token.metadata = Metadata(bold=value, label=str(value))
    made = Document(symbols)
    made.annotate_layer("tokens", Layer(tokens))
    made.annotate_layer("pages", Layer([Entity(spans=[Span(0, len(symbols))])]))
    titles = [Entity(spans=[tokens[i].spans[0]]) for i, is_gold in enumerate(gold) if is_gold]
    made.annotate_layer("Title", Layer(titles))
    return made


def test_the_key_that_labels_come_from_is_never_read():
    labelling = Labelling(label_field=("tokens",), label_attribute="label")
    parsed = Parser(labelling, CompactConfig().needs, Issues()).parse(document([True, False], [1, 0]), "a")
    assert set(parsed.contexts[0].metadata) == {"bold"}


def test_a_predictor_reads_metadata_and_works_without_them(tmp_path, caplog):
    random = np.random.default_rng(3)
    marks = [(random.random(12) < 0.4).tolist() for _ in range(24)]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f"{document(bold, bold).to_bytes().decode()}\n" for bold in marks))
    config = EntityClassificationTrainConfig(
        data_path=path,
        val_data_path=path,
        label_field="Title",
        max_epochs=12,
        learning_rate=0.02,
        default_root_dir=tmp_path / "run",
        **{"encoder.width": 16, "encoder.rows": 64, "encoder.dropout": 0.0},
    )
    result = EntityClassificationTrainer(config).train()
    assert result.scores.f1 > 0.95
    predictor = EntityClassificationPredictor.from_pretrained(result.checkpoint)
    assert predictor.blueprint.encoder.metadata == ("bold", "label")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            predictor.predict(document(None, marks[0]))
    assert sum("no metadata bold, label" in record.getMessage() for record in caplog.records) == 1
