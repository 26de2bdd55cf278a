"""The conformance suite of label schemes."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st

from papermage_core.errors import ConfigError, PapermageError
from papermage_core.plugin.spec import LabelScheme, UnitSpan
from papermage_core.testing.checks import each, fail, require, working
from papermage_core.testing.component import ComponentSuite, targets_of
from papermage_core.testing.probes import MANY
from papermage_core.testing.strategies import labels, legal_tags, unit_spans

__all__ = ["LabelSchemeSuite"]

_DOZEN = 12
"""Labels that each scheme should hold; of more, some have too many tags."""


class LabelSchemeSuite(ComponentSuite):
    """Subclass as ``class TestMine(LabelSchemeSuite): component = "mine"``."""

    kind: ClassVar[str] = "label_scheme"

    def test_the_scheme_states_its_targets_and_labels(self) -> None:
        """Config and scheme agree on targets; the scheme knows its labels in the order given."""
        for scheme, names in self._schemes(("two", "one", "One")):
            require(
                scheme.targets == targets_of(self.found_class()),
                f"the config says targets = {targets_of(self.found_class())!r}, the scheme {scheme.targets!r}",
                "state the same in both",
            )
            require(
                tuple(scheme.labels) == names and isinstance(scheme.labels, tuple),
                f"built for the labels {names}, the scheme has {scheme.labels!r}",
                "set self.labels = tuple(labels)",
            )

    def test_the_tables_of_tags_are_whole(self) -> None:
        """Shapes and types of the tables, ``"O"`` first and legal throughout, and every tag of use."""
        for scheme, _ in self._schemes(("one", "two")):
            if scheme.targets == "tags":
                _check_tables(scheme)

    def test_there_are_legal_sequences_of_every_length(self) -> None:
        """A head could predict nothing otherwise."""
        for scheme, _ in self._schemes(("one", "two")):
            if scheme.targets == "tags":
                for n in range(1, 2 * len(scheme.tags)):
                    require(_reachable(scheme, n), f"no sequence of {n} tags is legal", "see the three tables")

    def test_entities_come_back_from_encode_and_decode(self) -> None:
        """Nothing is lost or invented, up to what the scheme says of itself."""

        def check(case: tuple[LabelScheme, int, list[UnitSpan]]) -> None:
            scheme, n, spans = case
            remedy = "encode all that the class variables let through: with allows_overlap, any number that overlap"
            with working(f"encoding {spans} in {n} units", remedy):
                target = scheme.encode(spans, n)
            found = scheme.decode(target)
            expected = _joined(spans) if scheme.joins_neighbours else spans
            require(
                sorted(found) == sorted(expected),
                f"{expected} in {n} units came back as {found}, through {_shown(scheme, target)}",
                "make decode the inverse of encode; if entities that touch are joined on purpose, say "
                "joins_neighbours = True",
            )
            require(
                [(s.start, s.stop) for s in found] == sorted((s.start, s.stop) for s in found),
                f"decode returned {found}",
                "sort the entities by start, then stop",
            )

        self._each(self._entities, check)

    def test_long_entities_at_every_place_come_back(self) -> None:
        """Of any length, at the first and the last unit, of many labels; discontinuous ones with many segments."""
        for scheme, names in self._schemes(MANY):
            for spans, n in _long_ones(names, discontinuous=scheme.allows_discontinuous):
                with working(f"{spans} in {n} units", "let encode and decode hold entities of any length and place"):
                    found = scheme.decode(scheme.encode(spans, n))
                require(
                    found == sorted(spans),
                    f"{_brief(spans)} in {n} units came back as {_brief(found)}",
                    "let encode and decode hold entities of any length and place, of any number of labels or segments",
                )

    def test_one_label_and_a_dozen_are_kept_apart(self) -> None:
        """Each label has tags of its own, however many there are, and however alike their names."""
        for count in (1, 12, 60, 150):
            names = ("B-O", "b-o", *(f"a long name of a label-{number}" for number in range(count)))[:count]
            remedy = "build tags and tables from the labels, of which there may be any number, as they are"
            with working(f"with {count} labels, the scheme", remedy):
                try:
                    schemes = [config.build(names) for config in self.configs()]
                except ConfigError as exc:
                    if count > _DOZEN:
                        return  # too many for it, as it says
                    fail(f"{count} labels are refused: {exc}", remedy)
                for scheme in schemes:
                    twice = [tag for tag, times in Counter(scheme.tags).items() if times > 1]
                    require(not twice, f"with {count} labels, tags are called {twice[:2]} more than once", remedy)
                    spans = [UnitSpan.of(name, 2 * i, 2 * i + 1) for i, name in enumerate(names)]
                    found = scheme.decode(scheme.encode(spans, 2 * count))
                    wrong = [(a.label, b.label) for a, b in zip(spans, found, strict=True) if a != b]
                    require(not wrong, f"with {count} labels, {wrong[:1]} came back for another", remedy)

    def test_encoding_keeps_no_state(self) -> None:
        """The same entities are encoded, and the same target is decoded, the same again after others."""
        remedy = "keep nothing between calls that changes a later one"
        for scheme, names in self._schemes(MANY):
            first = [UnitSpan.of(names[0], 0, 2), UnitSpan.of(names[3], 4, 5)]
            fresh = copy.deepcopy(scheme)
            once = fresh.encode(first, 6)
            found = fresh.decode(once)
            held = fresh.encode(first, 6)
            kept, held_found = copy.deepcopy(held), fresh.decode(held)
            kept_found = list(held_found)
            fresh.decode(fresh.encode([UnitSpan.of(names[1], 1, 3)], 6))
            scheme.decode(scheme.encode([UnitSpan.of(names[1], 1, 3)], 6))
            for spans, n in _long_ones(names, discontinuous=scheme.allows_discontinuous):
                scheme.decode(scheme.encode(spans, n))
            same = np.array_equal(kept, held) if scheme.tags else kept == held
            anew = "return a new array, or a new list, each time: targets are kept until the batch is made"
            require(same, "a target that was returned changes when others are encoded", anew)
            require(kept_found == held_found, "entities that were returned change when others are decoded", anew)
            same = np.array_equal(once, scheme.encode(first, 6)) if scheme.tags else once == scheme.encode(first, 6)
            require(same, "the same entities have another target after others", remedy)
            require(scheme.decode(once) == found, "the same target means other entities after others", remedy)

    def test_two_schemes_share_nothing(self) -> None:
        """Each label field has a scheme of its own: one is as it was once others are built, for other labels."""
        remedy = "keep what depends on the labels on the scheme itself: in no class, module or cache that all share"
        for config in self.configs():
            scheme = self._build(config, MANY)
            spans = [UnitSpan.of(MANY[0], 0, 2), UnitSpan.of(MANY[5], 3, 4), UnitSpan.of(MANY[-1], 6, 9)]
            target = scheme.encode(spans, 9)
            before = copy.deepcopy((_outside(scheme), target, scheme.decode(target)))
            for names in (MANY[::-1], ("another", MANY[0])):
                other = self._build(config, names)
                with working(f"a scheme for the labels {names[:2]}, beside one for others,", remedy):
                    other.decode(other.encode([UnitSpan.of(names[0], 1, 2), UnitSpan.of(names[1], 3, 5)], 6))
                with working(f"a scheme, once another was built for the labels {names[:2]},", remedy):
                    again = scheme.encode(spans, 9)
                    found = scheme.decode(target)
                seen = f"once a scheme was built for the labels {names[:2]}, one for {MANY[:2]} has other"
                require(_outside(scheme) == before[0], f"{seen} labels, tags or tables", remedy)
                same = np.array_equal(again, before[1]) if scheme.tags else again == before[1]
                require(same, f"{seen} targets", remedy)
                require(found == before[2], f"{seen} entities: {_brief(found)} for {_brief(before[2])}", remedy)

    def test_what_is_given_is_left_as_it_is(self) -> None:
        """Neither the entities nor the target are changed, and a target that cannot be written to is read."""
        remedy = "work on a copy: sorted(spans), np.array(target)"
        for scheme, names in self._schemes(("one", "two")):
            spans = [UnitSpan.of(names[0], 0, 2), UnitSpan.of(names[1], 3, 4)]
            before = list(spans)
            target = scheme.encode(spans, 6)
            require(spans == before, f"encode changed the entities that it was given to {spans}", remedy)
            with working("encode of a tuple of entities", remedy):
                scheme.encode(tuple(spans), 6)
            with working("encode of entities that have scores", "look at label and segments alone"):
                scored = scheme.encode([UnitSpan(span.label, span.segments, 0.5) for span in spans], 6)
            same = np.array_equal(scored, target) if scheme.tags else scored == target
            require(same, "entities that have scores have another target", "look at label and segments alone")
            kept = np.array(target) if scheme.tags else list(target)
            if scheme.tags:
                target.flags.writeable = False
            with working("decode of a read-only target", remedy):
                scheme.decode(target)
            same = np.array_equal(kept, target) if scheme.tags else kept == target
            require(same, "decode changed the target that it was given", remedy)

    def test_predecessors_are_those_of_the_table(self) -> None:
        """A scheme that overrides ``predecessors`` says there what ``transition_allowed`` says."""
        for scheme, _ in self._schemes(MANY):
            if scheme.targets == "tags":
                number, sets = scheme.predecessors()
                table = np.asarray(scheme.transition_allowed)
                same = all(
                    np.array_equal(sets[number[tag]], np.flatnonzero(table[:, tag])) for tag in range(len(table))
                )
                require(same, "predecessors() and transition_allowed differ", "derive both from one rule")

    def test_encoded_tags_are_legal(self) -> None:
        """``encode`` makes an int64 array of shape (n,), known tags only, in a legal order."""

        def check(case: tuple[LabelScheme, int, list[UnitSpan]]) -> None:
            scheme, n, spans = case
            if scheme.targets != "tags":
                return
            tags = scheme.encode(spans, n)
            require(
                isinstance(tags, np.ndarray) and tags.dtype == np.int64 and tags.shape == (n,),
                f"encode returned {tags!r} for {n} units",
                "return an int64 array of shape (n_units,)",
            )
            require(
                ((tags >= 0) & (tags < len(scheme.tags))).all(), f"encode returned {tags}", "return indices into tags"
            )
            require(
                scheme.allows(tags),
                f"{spans} in {n} units is written as {_shown(scheme, tags)}, which the scheme's tables forbid",
                "correct start_allowed, end_allowed and transition_allowed, or encode",
            )

        self._each(self._entities, check)

    def test_what_is_legal_is_what_the_tables_say(self) -> None:
        """A scheme that overrides ``allows`` or ``has_legal_sequences`` says there what the three tables say."""
        remedy = "derive allows() and the tables from one rule, or leave allows() as it is"

        def check(case: tuple[LabelScheme, Any]) -> None:
            scheme, tags = case
            if scheme.targets == "tags" and (tags >= 0).all():
                said, meant = bool(scheme.allows(tags)), LabelScheme.allows(scheme, tags)
                seen = f"allows() says {said} of {_shown(scheme, tags)}, and the tables {meant}"
                require(said == meant, seen, remedy)

        self._each(self._any_tags, check)
        self._each(self._legal, check)
        for scheme, _ in self._schemes(("one", "two")):
            if scheme.targets == "tags":
                target = scheme.encode(
                    [UnitSpan.of("one", 0, 2), UnitSpan.of("two", 2, 3), UnitSpan.of("two", 4, 6)], 6
                )
                require(
                    LabelScheme.allows(scheme, target),
                    f"what encode makes, {_shown(scheme, target)}, is not legal by the tables",
                    remedy,
                )

    def test_legal_tags_mean_entities_that_can_be_encoded(self) -> None:
        """Whatever a head may decode can be written again, and means the same then."""

        def check(case: tuple[LabelScheme, Any]) -> None:
            scheme, tags = case
            found = scheme.decode(tags)
            again = scheme.decode(scheme.encode(found, len(tags)))
            require(
                again == found,
                f"the legal tags {_shown(scheme, tags)} mean {found}, which is read as {again} when written again",
                "make encode and decode agree on every legal sequence",
            )

        self._each(self._legal, check)

    def test_ill_formed_tags_are_read(self) -> None:
        """Any sequence of tags, unknown ones too, is read as entities within the context that do not overlap."""

        def check(case: tuple[LabelScheme, Any]) -> None:
            scheme, tags = case
            try:
                found = scheme.decode(tags)
            except Exception as exc:
                fail(f"decode failed for {_shown(scheme, tags)}: {type(exc).__name__}: {exc}", "read any sequence")
            _check_within(found, len(tags), scheme)

        self._each(self._any_tags, check)

    def test_entities_that_cannot_be_written_are_refused(self) -> None:
        """ValueError for an unknown label, for a span outside the context, and for overlap where there is none."""
        for scheme, (label, *others) in self._schemes(("one", "two")):
            _check_refused(scheme, [UnitSpan.of("no such label", 0, 1)], "a label that is not one of its labels")
            _check_refused(scheme, [UnitSpan.of(label, 2, 9)], "a span that ends outside the context")
            _check_refused(scheme, [UnitSpan.of(label, -1, 1)], "a span that starts outside the context")
            _check_refused(scheme, [UnitSpan.of(label, 5, 7)], "a span that lies outside the context")
            if not scheme.allows_overlap:
                for one, two in (((0, 2), (1, 3)), ((0, 4), (1, 2)), ((1, 2), (1, 2))):
                    for second in (label, *others):
                        if (one, label) == (two, second):
                            continue  # one entity, twice
                        overlapping = [UnitSpan.of(label, *one), UnitSpan.of(second, *two)]
                        for spans in (overlapping, overlapping[::-1]):
                            _check_refused(scheme, spans, f"overlapping entities, {spans}, without allows_overlap,")

    def test_a_context_of_no_units_has_no_entities(self) -> None:
        """The empty context passes through."""
        for scheme, _ in self._schemes(("one", "two")):
            target = scheme.encode([], 0)
            require(len(target) == 0, f"encode([], 0) returned {target!r}", "return an empty target")
            require(scheme.decode(target) == [], "decode found entities in no units", "return an empty list")

    def test_the_scheme_can_be_pickled(self) -> None:
        """Worker processes encode with a copy."""
        for scheme, names in self._schemes(("one", "two")):
            spans = [UnitSpan.of(names[0], 0, 2)]
            try:
                copy = pickle.loads(pickle.dumps(scheme))  # the suite's own bytes
            except Exception as exc:
                fail(f"pickling failed: {exc}", "define the scheme's class at the top level of its module")
            require(
                copy.decode(copy.encode(spans, 3)) == scheme.decode(scheme.encode(spans, 3)),
                "a pickled copy of the scheme encodes otherwise",
                "keep all of its state in plain attributes",
            )

    def _why_not_trained(self, exc: PapermageError) -> str:
        refused = isinstance(exc, ConfigError) and str(exc).startswith("head: ")
        return 'train_predict("label_scheme=…", head="…") tries it with a head that takes it' if refused else ""

    def _schemes(self, names: tuple[str, ...]) -> list[tuple[LabelScheme, tuple[str, ...]]]:
        return [(self._build(config, names), names) for config in self.configs()]

    def _build(self, config: Any, names: tuple[str, ...]) -> LabelScheme:
        try:
            scheme = config.build(names)
        except ConfigError as exc:
            fail(f"{config} cannot hold the labels {names}: {exc}", "allow any label but the tags' own 'O'")
        require(isinstance(scheme, LabelScheme), f"build returned {scheme!r}", "return a subclass of LabelScheme")
        return scheme  # type: ignore[no-any-return]

    def _each(self, strategy: Callable[[Any], st.SearchStrategy[Any]], check: Callable[[Any], None]) -> None:
        for config in self.configs():
            schemes = labels(8).map(functools.partial(self._build, config))
            each(schemes.flatmap(strategy), check, examples=60)

    @staticmethod
    def _entities(scheme: LabelScheme) -> st.SearchStrategy[Any]:
        return st.one_of(st.integers(0, 12), st.integers(13, 60)).flatmap(
            lambda n: st.tuples(
                st.just(scheme),
                st.just(n),
                unit_spans(scheme.labels, n, overlap=scheme.allows_overlap, discontinuous=scheme.allows_discontinuous),
            )
        )

    @staticmethod
    def _legal(scheme: LabelScheme) -> st.SearchStrategy[Any]:
        if scheme.targets != "tags":
            return st.just((scheme, []))
        return st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(scheme), legal_tags(scheme, n)))

    @staticmethod
    def _any_tags(scheme: LabelScheme) -> st.SearchStrategy[Any]:
        if scheme.targets != "tags":
            return st.just((scheme, []))
        tags = st.lists(st.integers(-1, len(scheme.tags) - 1), max_size=20)
        return st.tuples(st.just(scheme), tags.map(lambda values: np.array(values, np.int64)))


def _outside(scheme: LabelScheme) -> list[Any]:
    """Return what others see of a scheme, as plain values."""
    tables = ("start_allowed", "end_allowed", "transition_allowed") if scheme.targets == "tags" else ()
    return [list(scheme.labels), list(scheme.tags), *(np.asarray(getattr(scheme, name)).tolist() for name in tables)]


def _long_ones(names: tuple[str, ...], *, discontinuous: bool) -> Iterator[tuple[list[UnitSpan], int]]:
    """Yield entities and the number of units that they are in."""
    for number, label in enumerate(names):
        yield [UnitSpan.of(label, number, number + 7 + number)], 2 * number + 7  # to the last unit
    yield [UnitSpan.of(names[0], 0, 90), UnitSpan.of(names[1], 91, 92)], 92
    yield [UnitSpan.of(names[-1], 0, 1), UnitSpan.of(names[-2], 2, 40), UnitSpan.of(names[0], 41, 300)], 300
    if discontinuous:
        yield [UnitSpan(names[2], ((0, 2), (5, 6), (9, 12)))], 12
        yield [UnitSpan(names[0], ((1, 2), (3, 4), (8, 9), (20, 27))), UnitSpan.of(names[1], 30, 31)], 31
    n = 70_000
    yield [UnitSpan.of(names[1], 0, 1), UnitSpan.of(names[0], n - 999, n - 1), UnitSpan.of(names[-1], n - 1, n)], n


def _brief(spans: list[UnitSpan]) -> str:
    return ", ".join(f"{span.label} {span.segments}" for span in spans) or "nothing"


def _check_tables(scheme: LabelScheme) -> None:
    k = len(scheme.tags)
    require(scheme.tags[:1] == ("O",), f"tags are {scheme.tags}", 'make "O" the first tag')
    require(len(set(scheme.tags)) == k, f"tags are {scheme.tags}", "give every tag a name of its own")
    tables = {"start_allowed": (k,), "end_allowed": (k,), "transition_allowed": (k, k)}
    for name, shape in tables.items():
        table = np.asarray(getattr(scheme, name, None))
        require(
            table.shape == shape and table.dtype == np.bool_,
            f"{name} has shape {table.shape} and dtype {table.dtype}",
            f"make it a bool array of shape {shape}",
        )
    require(
        scheme.start_allowed[0] and scheme.end_allowed[0] and scheme.transition_allowed[0, 0],
        "a context without entities is not legal",
        "allow O at the start, at the end, and after O",
    )
    for tag in range(k):
        require(_is_used(scheme, tag), f"no legal sequence holds the tag {scheme.tags[tag]!r}", "see the three tables")


def _is_used(scheme: LabelScheme, tag: int) -> bool:
    k = len(scheme.tags)
    reached, finishing = np.array(scheme.start_allowed), np.array(scheme.end_allowed)
    for _ in range(k):
        reached = reached | (reached[:, None] & scheme.transition_allowed).any(0)
        finishing = finishing | (scheme.transition_allowed & finishing[None, :]).any(1)
    return bool(reached[tag] and finishing[tag])


def _reachable(scheme: LabelScheme, n: int) -> bool:
    reached: Any = np.array(scheme.start_allowed)
    for _ in range(n - 1):
        reached = (reached[:, None] & scheme.transition_allowed).any(0)
    return bool((reached & scheme.end_allowed).any())


def _check_within(spans: list[UnitSpan], n: int, scheme: LabelScheme) -> None:
    for span in spans:
        inside = span.start >= 0 and span.stop <= n and span.label in scheme.labels
        require(inside, f"decode returned {span} in {n} units", "return known labels inside the context")
    if not scheme.allows_overlap:
        for first, second in itertools.pairwise(spans):
            require(first.stop <= second.start, f"decode returned {first} and {second}", "let entities not overlap")


def _check_refused(scheme: LabelScheme, spans: list[UnitSpan], what: str) -> None:
    try:
        target = scheme.encode(spans, 4)
    except ValueError:
        return
    except Exception as exc:
        fail(f"encode raised {type(exc).__name__} for {what}", "raise ValueError there")
    fail(f"encode took {what} and returned {_shown(scheme, target)}", "raise ValueError there")


def _joined(spans: list[UnitSpan]) -> list[UnitSpan]:
    joined: list[UnitSpan] = []
    for span in spans:
        if joined and joined[-1].label == span.label and joined[-1].stop == span.start:
            joined[-1] = UnitSpan.joining(span.label, joined[-1].segments + span.segments)
        else:
            joined.append(span)
    return joined


def _shown(scheme: LabelScheme, target: Any) -> str:
    if scheme.targets != "tags":
        return repr(target)
    return " ".join(scheme.tags[tag] if tag >= 0 else "?" for tag in np.asarray(target).tolist())
