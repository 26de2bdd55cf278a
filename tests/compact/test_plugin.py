"""Options, and what the training data decides."""

from __future__ import annotations

import subprocess
import sys
import weakref

import attrs
import numpy as np
import pytest

from papermage_compact.plugin import CompactConfig, papermage_context_encoder
from papermage_core.data.batches import BatchLimits
from papermage_core.plugin import Context, ContextNeeds


def context(*, boxed: int, units: int = 4) -> Context:
    boxes = np.full((units, 4), np.nan, np.float32)
    boxes[:boxed] = (0.1, 0.1, 0.2, 0.12)
    return Context(words=["a"] * units, space_before=np.ones(units, bool), boxes=boxes)


def test_the_hook_gives_the_config_without_torch():
    assert papermage_context_encoder() is CompactConfig
    code = "import papermage_compact.plugin, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("boxed", "layout"), [(4, "on"), (2, "on"), (1, "off"), (0, "off")])
def test_auto_layout_is_on_when_half_the_units_have_boxes(boxed, layout):
    assert CompactConfig().settle([context(boxed=boxed)]).layout == layout


def test_auto_layout_is_off_without_units_or_boxes():
    assert CompactConfig().settle([]).layout == "off"
    assert CompactConfig().settle([attrs.evolve(context(boxed=0), boxes=None)]).layout == "off"


class Stream:
    """Contexts that can be gone through once at a time, and neither counted nor kept."""

    def __init__(self, *contexts):
        self._contexts = contexts

    def __iter__(self):
        given = []
        for made in map(attrs.evolve, self._contexts):
            assert sum(context() is not None for context in given) <= 1, "contexts are kept"
            given.append(weakref.ref(made))
            yield made
            del made


@pytest.mark.parametrize(("boxed", "layout"), [((4, 0, 0, 4), "on"), ((4, 0, 0), "off"), ((), "off")])
def test_a_stream_of_contexts_is_gone_through_and_not_kept(boxed, layout):
    assert CompactConfig().settle(Stream(*(context(boxed=n) for n in boxed))).layout == layout


def test_a_layout_that_was_asked_for_is_kept():
    assert CompactConfig(layout="off").settle([context(boxed=4)]).layout == "off"
    assert CompactConfig(layout="on").settle([context(boxed=0)]).layout == "on"


def test_nothing_is_asked_of_documents_without_layout():
    bare = CompactConfig(layout="off", metadata=(), abbreviations="off")
    assert attrs.evolve(bare, lines="off").needs == bare.needs == ContextNeeds()
    assert attrs.evolve(bare, lines="on").needs == ContextNeeds(groups=("rows",))
    assert CompactConfig().needs.boxes
    assert "rows" in CompactConfig().needs.groups


def test_a_corpus_without_boxes_pays_nothing():
    encoder = CompactConfig(width=16, rows=64).settle([context(boxed=0)]).build()
    assert encoder.lines is None
    assert encoder.layout is None
    (window,) = encoder.windows([context(boxed=4)], stride=0)[0]
    assert not {"line", "layout", "layout_values"} & set(window.features)


def test_batches_are_smaller_where_the_training_data_are_few():
    def words(count):
        return Context(words=["a"] * count, space_before=np.ones(count, bool))

    for count, cost in ((100, 64), (10_000, 100), (1_000_000, 1024)):
        settled = CompactConfig().settle([words(count)])
        assert settled.training_batch_cost == BatchLimits.of(settled).cost == cost
        assert BatchLimits.without_gradient(settled, None, "cpu").cost == 2048
    assert CompactConfig().training_batch_cost == 1024
