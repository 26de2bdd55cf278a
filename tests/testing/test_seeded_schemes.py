"""Schemes with one fault each that only shows for long entities, many labels or segments, or later: each is caught."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from papermage_core.plugin.spec import LabelScheme, UnitSpan
from papermage_schemes.bio import BioScheme
from tests.testing.helpers import failed, fault, suite_of


class Spans(LabelScheme):
    """Entities as they are."""

    targets = "spans"
    allows_overlap = allows_discontinuous = True

    def __init__(self, labels):
        self.labels = tuple(labels)

    def encode(self, spans, n_units):
        for span in spans:
            if span.label not in self.labels or span.start < 0 or span.stop > n_units:
                raise ValueError(f"{span} in {n_units} units")
        return sorted(spans)

    def decode(self, target):
        return sorted(target)


class CutsAtSeven(BioScheme):
    def decode(self, target):
        return [UnitSpan.of(s.label, s.start, min(s.stop, s.start + 7)) for s in super().decode(target)]


class LosesTheLastUnit(BioScheme):
    """In contexts of more than twelve units."""

    def decode(self, target):
        found = super().decode(target)
        return [span for span in found if len(target) < 13 or span.stop < len(target)]


class MixesUpTheFifthLabel(BioScheme):
    def decode(self, target):
        return [attrs.evolve(s, label=self.labels[self.labels.index(s.label) % 4]) for s in super().decode(target)]


class HoldsNineLabels(BioScheme):
    def encode(self, spans, n_units):
        tags = super().encode(spans, n_units)
        return tags * (tags < 19)


class DropsTheThirdSegment(Spans):
    def decode(self, target):
        return [UnitSpan(span.label, span.segments[:2]) for span in super().decode(target)]


class FillsWideGaps(Spans):
    def encode(self, spans, n_units):
        filled = []
        for span in super().encode(spans, n_units):
            (first, stop), *rest = span.segments
            segments = [(first, stop)]
            for start, end in rest:
                last = segments[-1]
                segments[-1:] = [last, (start, end)] if start - last[1] == 1 else [(last[0], end)]
            filled.append(UnitSpan(span.label, tuple(segments)))
        return filled


class SortsItsTagsByHash(BioScheme):
    def __init__(self, labels):
        super().__init__(tuple(sorted(labels, key=hash)))


class RemembersTheFirst(BioScheme):
    def __init__(self, labels):
        super().__init__(labels)
        self.made = {}

    def encode(self, spans, n_units):
        return self.made.setdefault(n_units, super().encode(spans, n_units))


class DecodesInPlace(BioScheme):
    def decode(self, target):
        target[target < 0] = 0
        return super().decode(target)


class SortsWhatItIsGiven(Spans):
    def encode(self, spans, n_units):
        found = super().encode(spans, n_units)
        spans.sort()
        return found


class SaysOtherPredecessors(BioScheme):
    def predecessors(self):
        number, sets = super().predecessors()
        return number, [before[:1] for before in sets]


class RenamesByTheNewest(BioScheme):
    """Decodes with the labels of whichever scheme was built last."""

    newest: tuple[str, ...] = ()

    def __init__(self, labels):
        super().__init__(labels)
        type(self).newest = self.labels

    def decode(self, target):
        names = type(self).newest
        return [attrs.evolve(s, label=names[self.labels.index(s.label) % len(names)]) for s in super().decode(target)]


_NUMBERS: dict[str, int] = {}


class NumbersLabelsInItsModule(BioScheme):
    def __init__(self, labels):
        super().__init__(labels)
        _NUMBERS.clear()
        _NUMBERS.update({label: number for number, label in enumerate(self.labels)})

    def encode(self, spans, n_units):
        tags = super().encode(spans, n_units)
        for span in spans:
            tags[span.start : span.stop] = 2 * _NUMBERS[span.label] + 2
            tags[span.start] -= 1
        return tags


class EncodesIntoOneArray(BioScheme):
    buffer = np.zeros(100_000, np.int64)

    def encode(self, spans, n_units):
        self.buffer[:n_units] = super().encode(spans, n_units)
        return self.buffer[:n_units]


class DecodesIntoOneList(BioScheme):
    def __init__(self, labels):
        super().__init__(labels)
        self.found = []

    def decode(self, target):
        self.found[:] = super().decode(target)
        return self.found


class Prints(BioScheme):
    def encode(self, spans, n_units):
        print("encode", n_units)
        return super().encode(spans, n_units)


LONG = "long entities at every place come back"
LENGTH = "let encode and decode hold entities of any length and place"

CASES = [
    (CutsAtSeven, LONG, LENGTH),
    (CutsAtSeven, "entities come back from encode and decode", "make decode the inverse of encode"),
    (LosesTheLastUnit, LONG, LENGTH),
    (MixesUpTheFifthLabel, "one label and a dozen are kept apart", "build tags and tables from the labels"),
    (HoldsNineLabels, "one label and a dozen are kept apart", "build tags and tables from the labels"),
    (DropsTheThirdSegment, LONG, "of any number of labels or segments"),
    (FillsWideGaps, LONG, "of any number of labels or segments"),
    (FillsWideGaps, "entities come back from encode and decode", "make decode the inverse of encode"),
    (SortsItsTagsByHash, "another process makes the same of the same", "no order of a set"),
    (RemembersTheFirst, "encoding keeps no state", "keep nothing between calls"),
    (EncodesIntoOneArray, "encoding keeps no state", "a target that was returned changes"),
    (DecodesIntoOneList, "encoding keeps no state", "entities that were returned change"),
    (RenamesByTheNewest, "two schemes share nothing", "has other entities"),
    (NumbersLabelsInItsModule, "two schemes share nothing", "has other targets"),
    (DecodesInPlace, "what is given is left as it is", "work on a copy"),
    (SortsWhatItIsGiven, "what is given is left as it is", "work on a copy"),
    (SaysOtherPredecessors, "predecessors are those of the table", "derive both from one rule"),
    (Prints, "nothing is printed", "log with logging.getLogger"),
]


@pytest.mark.parametrize(("scheme", "check", "message"), CASES, ids=[f"{case[0].__name__}-{case[1]}" for case in CASES])
def test_a_faulty_scheme_is_caught(scheme, check, message):
    assert message in fault(suite_of(scheme), check)


@pytest.mark.parametrize("scheme", [BioScheme, Spans])
def test_the_sound_schemes_pass(scheme):
    assert failed(suite_of(scheme)) == []
