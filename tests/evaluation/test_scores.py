"""Strict scores against seqeval and brute force."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from papermage_core.evaluation import Counts, Scores, score
from papermage_core.evaluation.scorer import Scorer
from papermage_core.plugin.spec import UnitSpan

LABELS = ("a", "b", "c")
N_UNITS = 12


@st.composite
def spans(draw: st.DrawFn) -> UnitSpan:
    start = draw(st.integers(0, N_UNITS - 1))
    return UnitSpan.of(draw(st.sampled_from(LABELS)), start, draw(st.integers(start + 1, N_UNITS)))


@st.composite
def discontinuous(draw: st.DrawFn) -> UnitSpan:
    edges = sorted(draw(st.sets(st.integers(0, N_UNITS), min_size=4, max_size=4)))
    return UnitSpan(draw(st.sampled_from(LABELS)), ((edges[0], edges[1]), (edges[2], edges[3])))


@st.composite
def tag_rows(draw: st.DrawFn) -> list[list[str]]:
    """Well-formed IOB2 rows of a few documents."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row: list[str] = []
        for choice in draw(st.lists(st.sampled_from(["O", "I", "B-a", "B-b", "B-c"]), min_size=6, max_size=6)):
            inside = choice == "I" and row and row[-1] != "O"
            row.append(f"I-{row[-1][2:]}" if inside else choice if choice != "I" else "O")
        rows.append(row)
    return rows


def read_iob2(row: list[str]) -> list[UnitSpan]:
    found: list[UnitSpan] = []
    for at, tag in enumerate(row):
        if tag.startswith("B-"):
            found.append(UnitSpan.of(tag[2:], at, at + 1))
        elif tag.startswith("I-"):
            found[-1] = UnitSpan.of(tag[2:], found[-1].start, at + 1)
    return found


documents = st.lists(st.lists(st.one_of(spans(), discontinuous()), max_size=6), min_size=1, max_size=4)


@given(st.data())
@pytest.mark.filterwarnings("ignore:.*ill-defined")  # seqeval's own, for absent labels
def test_strict_scores_are_those_of_seqeval(data: st.DataObject) -> None:
    peer, scheme = pytest.importorskip("seqeval.metrics.v1"), pytest.importorskip("seqeval.scheme").IOB2
    gold = data.draw(tag_rows())
    predicted = [data.draw(tag_rows())[0] for _ in gold]
    scores = score([read_iob2(row) for row in gold], [read_iob2(row) for row in predicted])
    for average, ours in (
        ("micro", (scores.precision, scores.recall, scores.f1)),
        ("macro", tuple(scores.macro.values())),
    ):
        if any(tag != "O" for row in gold + predicted for tag in row):
            options = {"scheme": scheme, "average": average, "zero_division": 0}
            theirs = peer.precision_recall_fscore_support(gold, predicted, **options)
            assert ours == pytest.approx(theirs[:3])


@given(documents, st.data())
def test_strict_counts_are_those_of_brute_force(gold: list[list[UnitSpan]], data: st.DataObject) -> None:
    more = [UnitSpan.of("a", 0, 1), UnitSpan.of("b", 0, 1)]
    predicted = [data.draw(st.lists(st.sampled_from([*g, *more]))) for g in gold]

    def places(document: list[UnitSpan]) -> list[tuple[str, frozenset[int]]]:
        out: list[tuple[str, frozenset[int]]] = []
        for span in document:
            units = frozenset(u for a, b in span.segments for u in range(a, b))
            if (span.label, units) not in out:
                out.append((span.label, units))
        return out

    right = sum(each in places(p) for g, p in zip(gold, predicted, strict=True) for each in places(g))
    micro = score(gold, predicted).micro
    assert micro == Counts(
        gold=sum(len(places(g)) for g in gold),
        found=right,
        predicted=sum(len(places(p)) for p in predicted),
        right=right,
    )


@given(documents)
def test_the_gold_itself_scores_one_everywhere(gold: list[list[UnitSpan]]) -> None:
    scores = score(gold, gold)
    for counts in (*scores.per_label.values(), *scores.subsets.values(), *scores.lenient.values()):
        assert counts.f1 == (1.0 if counts.gold else 0.0)


@given(documents, documents)
def test_swapping_sides_swaps_precision_and_recall(one: list[list[UnitSpan]], other: list[list[UnitSpan]]) -> None:
    shorter = min(len(one), len(other))
    there, back = score(one[:shorter], other[:shorter]), score(other[:shorter], one[:shorter])
    for name in there.subsets.keys() | back.subsets.keys():
        assert there.subsets[name].precision == back.subsets[name].recall
    for name, counts in there.lenient.items():
        assert counts.precision == back.lenient[name].recall


@given(documents)
def test_overlap_subsets_are_those_of_brute_force(gold: list[list[UnitSpan]]) -> None:
    def units(span: UnitSpan) -> set[int]:
        return {u for a, b in span.segments for u in range(a, b)}

    expected = {"overlapping": 0, "overlapping_own_label": 0, "nested": 0}
    for document in gold:
        distinct = [(s.label, frozenset(units(s))) for s in document]
        distinct = list(dict.fromkeys(distinct))
        for i, (label, mine) in enumerate(distinct):
            others = [(lab, its) for j, (lab, its) in enumerate(distinct) if j != i]
            expected["overlapping"] += any(mine & its for _, its in others)
            expected["overlapping_own_label"] += any(mine & its and lab == label for lab, its in others)
            expected["nested"] += any(mine <= its or its <= mine for _, its in others)
    scores = score(gold, gold)
    assert {name: scores.subsets[name].gold if name in scores.subsets else 0 for name in expected} == expected


def test_an_entity_predicted_twice_counts_once() -> None:
    span = UnitSpan.of("a", 0, 2, score=0.5)
    assert score([[span]], [[span, UnitSpan.of("a", 0, 2, score=0.9)]]).micro == Counts(
        gold=1, found=1, predicted=1, right=1
    )


def test_one_segment_and_touching_segments_are_a_continuous_entity() -> None:
    spelled = [UnitSpan("a", ((0, 4),)), UnitSpan.joining("a", ((5, 7), (7, 9)))]
    assert score([spelled], [[UnitSpan.of("a", 0, 4), UnitSpan.of("a", 5, 9)]]).f1 == 1.0


def test_wrong_segments_are_wrong() -> None:
    gold = UnitSpan("a", ((0, 1), (4, 5)))
    scores = score([[gold]], [[UnitSpan("a", ((0, 2), (4, 5)))]])
    assert scores.f1 == 0.0
    assert scores.subsets["discontinuous"].f1 == 0.0
    assert scores.lenient["overlap"].f1 == 1.0


def test_gold_out_of_reach_counts_as_missed() -> None:
    scores = score([[UnitSpan.of("a", 0, 1)]], [[UnitSpan.of("a", 0, 1)]], gold_unreachable={"a": 1, "b": 2, "c": 0})
    assert scores.recall == 0.25
    assert scores.precision == 1.0
    assert scores.per_label["b"] == Counts(gold=2, found=0, predicted=0, right=0)
    assert scores.gold_unreachable == {"a": 1, "b": 2}
    assert "3 gold entities could not have been predicted" in scores.table()


def test_asked_labels_come_first_and_are_shown_even_when_unseen() -> None:
    scores = score([[UnitSpan.of("a", 0, 1)]], [[]], labels=("z", "b"))
    assert list(scores.per_label) == ["z", "b", "a"]
    assert scores.macro["f1"] == 0.0


def test_nothing_at_all_scores_zero_and_prints() -> None:
    assert score([], []).f1 == 0.0
    assert "all (micro)" in score([[]], [[]]).table()


def test_different_numbers_of_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="expected predictions for 2 documents, got 1"):
        score([[], []], [[]])


@given(documents)
def test_scores_come_back_from_json(gold: list[list[UnitSpan]]) -> None:
    scores = score(gold, [document[:1] for document in gold], gold_unreachable={"b": 1})
    assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_the_table_lines_up() -> None:
    long = UnitSpan.of("a-long-label", 0, 1)
    table = score([[long, UnitSpan.of("b", 1, 2)]], [[long]]).table()
    lines = table.splitlines()
    assert lines[1].split() == ["a-long-label", "100.0", "100.0", "100.0", "1", "1"]
    assert len({len(line) for line in lines if not line.startswith(("all (macro)", "all (weighted)"))}) == 1


@pytest.mark.parametrize(
    ("documents", "wrong", "told"),
    [
        (1, 1, "on 1 document: too few, or too much alike"),
        (20, 0, "on 20 documents: too few, or too much alike"),
        (3, 1, "in samples of 3 documents: too few for confidence"),
        (20, 5, "with 95 % confidence"),
    ],
)
def test_an_interval_of_few_documents_or_of_like_ones_is_not_sold_as_confidence(
    documents: int, wrong: int, told: str
) -> None:
    scorer = Scorer(("a", "b"))
    for number in range(documents):
        scorer.add([UnitSpan.of("a", 0, 1)], [UnitSpan.of("b" if number < wrong else "a", 0, 1)])
    scores = scorer.scores(intervals=True)
    assert told in scores.told_interval()
    assert f"F1 {100 * scores.f1:.1f}, {scores.told_interval()}" in scores.table()


def test_the_groups_of_two_stand_by_where_they_begin() -> None:
    def of_lengths(*lengths: int) -> Scores:
        spans, start = [], 0
        for length in lengths:
            spans.append(UnitSpan.of("a", start, start + length))
            start += length
        return score([spans], [spans])

    groups = (of_lengths(2, 40, 9) + of_lengths(1, 5, 17)).groups["length"]
    assert list(groups) == ["1", "2-3", "4-7", "8-15", "16-31", "32 or more"]
    assert sum(counts.gold for counts in groups.values()) == 6
