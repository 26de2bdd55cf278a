"""Deliberately faulty label schemes, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from papermage_core.plugin.spec import UnitSpan
from papermage_schemes.bio import BioScheme
from tests.testing.helpers import fault, suite_of


class LosesTheLast(BioScheme):
    def decode(self, target):
        return super().decode(target)[:-1] if len(target) > 4 else super().decode(target)


class ForgetsSingleUnits(BioScheme):
    def encode(self, spans, n_units):
        return super().encode([span for span in spans if span.stop - span.start > 1], n_units)


class MixesLabelsUp(BioScheme):
    def decode(self, target):
        return [attrs.evolve(span, label=self.labels[0]) for span in super().decode(target)]


class JoinsInSilence(BioScheme):
    def decode(self, target):
        joined = []
        for span in super().decode(target):
            if joined and joined[-1].stop == span.start and joined[-1].label == span.label:
                joined[-1] = UnitSpan.of(span.label, joined[-1].start, span.stop)
            else:
                joined.append(span)
        return joined


class ForbidsWhatItWrites(BioScheme):
    def __init__(self, labels):
        super().__init__(labels)
        self.transition_allowed[1] = False
        self.transition_allowed[1, 0] = True


class OfTheWrongType(BioScheme):
    def encode(self, spans, n_units):
        return super().encode(spans, n_units).tolist()


class TakesAnyLabel(BioScheme):
    def encode(self, spans, n_units):
        return super().encode([span for span in spans if span.label in self.labels], n_units)


class TakesOverlap(BioScheme):
    def encode(self, spans, n_units):
        tags = np.zeros(n_units, np.int64)
        for span in spans:
            if span.label not in self.labels or not 0 <= span.start < span.stop <= n_units:
                raise ValueError(span)
            tags[span.start : span.stop] = super().encode([span], n_units)[span.start : span.stop]
        return tags


class FailsOnUnknownTags(BioScheme):
    def decode(self, target):
        if (np.asarray(target) < 0).any():
            raise IndexError("no such tag")
        return super().decode(target)


class FailsOnNothing(BioScheme):
    def encode(self, spans, n_units):
        if n_units == 0:
            raise ValueError("no units")
        return super().encode(spans, n_units)


class HasUselessTags(BioScheme):
    def __init__(self, labels):
        super().__init__(labels)
        self.transition_allowed[:, 1] = self.start_allowed[1] = False


class HoldsAFunction(BioScheme):
    def __init__(self, labels):
        super().__init__(labels)
        self.cannot_be_pickled = lambda: None


class Unsorted(BioScheme):
    def decode(self, target):
        return super().decode(target)[::-1]


class OutOfBounds(BioScheme):
    def decode(self, target):
        found = super().decode(target)
        return found if (np.asarray(target) >= 0).all() else [UnitSpan.of(self.labels[0], 0, len(target) + 1)]


@pytest.mark.parametrize(
    ("scheme", "check", "message"),
    [
        (LosesTheLast, "entities come back from encode and decode", "make decode the inverse of encode"),
        (ForgetsSingleUnits, "entities come back from encode and decode", "make decode the inverse of encode"),
        (MixesLabelsUp, "entities come back from encode and decode", "make decode the inverse of encode"),
        (JoinsInSilence, "entities come back from encode and decode", "say joins_neighbours = True"),
        (Unsorted, "entities come back from encode and decode", "sort the entities by start"),
        (ForbidsWhatItWrites, "encoded tags are legal", "correct start_allowed, end_allowed and transition_allowed"),
        (OfTheWrongType, "encoded tags are legal", "return an int64 array of shape (n_units,)"),
        (TakesAnyLabel, "entities that cannot be written are refused", "a label that is not one of its labels"),
        (TakesOverlap, "entities that cannot be written are refused", "overlapping entities"),
        (FailsOnUnknownTags, "ill formed tags are read", "read any sequence"),
        (OutOfBounds, "ill formed tags are read", "return known labels inside the context"),
        (FailsOnNothing, "a context of no units has no entities", "no units"),
        (HasUselessTags, "the tables of tags are whole", "no legal sequence holds the tag 'B-one'"),
        (HoldsAFunction, "the scheme can be pickled", "pickling failed"),
    ],
)
def test_a_faulty_scheme_is_caught(scheme, check, message):
    assert message in fault(suite_of(scheme), check)
