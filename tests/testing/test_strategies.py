"""What the kit makes up is as the specification says, so that what it checks is worth checking."""

from __future__ import annotations

import itertools
from typing import Literal

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.document import Document
from papermage_core.plugin.spec import ComponentConfig, ContextNeeds, option
from papermage_core.testing import (
    configs,
    contexts,
    documents,
    head_batches,
    legal_tags,
    make_document,
    make_documents,
    sample_contexts,
    unit_spans,
)
from papermage_schemes.bioes import BioesScheme

FEW = settings(max_examples=30, deadline=None, derandomize=True)
NEEDS = ContextNeeds(boxes=True, groups=("rows",), metadata=("size",))
SCHEME = BioesScheme(["X", "Y"])


@attrs.frozen(kw_only=True)
class Inner:
    share: float = option(0.5, help="a share", gt=0, lt=1)


@attrs.frozen(kw_only=True)
class Config(ComponentConfig):
    size: int = option(2, help="a size", ge=2, le=4)
    mode: Literal["a", "b"] = option("a", help="a mode")
    limit: int | None = option(None, help="a limit", ge=1)
    names: tuple[str, ...] = option((), help="names")
    inner: Inner = Inner()

    def __attrs_post_init__(self):
        if self.limit == self.size:
            raise ValueError("limit and size must differ")


@FEW
@given(contexts(NEEDS))
def test_contexts_have_what_is_needed_for_every_unit(context):
    n = len(context)
    assert len(context.words) == len(context.space_before) == n
    assert context.boxes.shape == (n, 4)
    placed = ~np.isnan(context.boxes[:, 0])
    assert (context.boxes[placed][:, :2] <= context.boxes[placed][:, 2:]).all()
    assert ((context.pages == -1) == ~placed).all()
    assert context.groups["rows"].shape == (n,)
    assert len(context.metadata["size"]) == n


@FEW
@given(contexts(NEEDS, bare=True))
def test_bare_contexts_have_text_only(context):
    assert context.boxes is context.pages is None
    assert not context.groups
    assert not context.metadata


def test_sample_contexts_are_the_same_in_every_call():
    first, second = sample_contexts(NEEDS), sample_contexts(NEEDS)
    assert [context.words for context in first] == [context.words for context in second]
    assert [len(context) for context in first] == [1, 7, 40, 3, 0, 12]


@FEW
@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), unit_spans(["X", "Y"], n))))
def test_entities_do_not_overlap_unless_asked_to(case):
    n, spans = case
    assert all(0 <= span.start < span.stop <= n for span in spans)
    assert all(first.stop <= second.start for first, second in itertools.pairwise(spans))


@FEW
@given(st.integers(1, 8).flatmap(lambda n: legal_tags(SCHEME, n)))
def test_legal_tags_are_legal(tags):
    assert SCHEME.allows(tags)


@FEW
@given(configs(Config))
def test_configs_keep_to_limits_and_to_rules_between_options(config):
    assert 2 <= config.size <= 4
    assert config.limit is None or config.limit >= 1
    assert config.limit != config.size
    assert 0 < config.inner.share < 1


@FEW
@given(head_batches(SCHEME))
def test_batches_have_their_padding_at_the_end(batch):
    assert (batch.mask.int().diff(dim=1) <= 0).all()
    assert batch.targets.shape == batch.mask.shape
    assert ((batch.targets >= 0) == batch.mask).all()
    taken = batch.take([0])
    assert taken.vectors.shape[:2] == (1, batch.lengths[0])
    assert torch.equal(taken.vectors[0], batch.vectors[0, : batch.lengths[0]])


@FEW
@given(documents())
def test_documents_are_whole(document):
    again = Document.from_bytes(document.to_bytes(), lenient=False)
    assert again.to_json() == document.to_json()
    assert {"tokens", "pages", "sentences", "marked"} <= set(document.layers)


def test_phrases_are_marked_wherever_they_stand_as_words():
    document = make_document(["ataxia and ataxias,", "no ataxia"], {"Disease": ["ataxia"]}, boxes=False)
    assert [(span.start, span.end) for entity in document.Disease for span in entity.spans] == [(0, 6), (23, 29)]
    assert document.tokens[0].boxes == []


@pytest.mark.parametrize("i", range(4))
def test_made_documents_have_entities_that_are_stretches_of_tokens(i):
    document = make_documents(4)[i]
    assert len(document.Disease) > 0
    bounds = {place for token in document.tokens for place in (token.spans[0].start, token.spans[0].end)}
    assert all({e.spans[0].start, e.spans[0].end} <= bounds for e in document.Disease)
