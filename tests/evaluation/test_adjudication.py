"""One gold of several annotators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.cli.data import main
from papermage_core.data import read_documents
from papermage_core.evaluation import krippendorff_alpha, votes
from papermage_core.plugin.spec import UnitSpan
from papermage_core.testing import write_jsonl

STARTS, LENGTHS = st.integers(0, 5), st.integers(1, 3)
SPANS = st.builds(lambda label, i, n: UnitSpan(label, ((i, i + n),)), st.sampled_from("ab"), STARTS, LENGTHS)


@given(st.lists(st.lists(SPANS, max_size=4), min_size=2, max_size=4))
def test_votes_are_counted_as_one_would_by_hand(marked: list[list[UnitSpan]]) -> None:
    found = votes(marked)
    everything = {span for spans in marked for span in spans}
    assert {vote.span for vote in found} == everything
    assert len(found) == len(everything)
    n = len(marked)
    gold = {span for span in everything if sum(span in spans for spans in marked) > n / 2}
    for vote in found:
        assert vote.by == tuple(i for i, spans in enumerate(marked) if vote.span in spans)
        near = [i for i, spans in enumerate(marked) if any(set(s.units) & set(vote.span.units) for s in spans)]
        if vote.span in gold:
            expected = "all" if len(vote.by) == n else "most"
        elif len(near) >= n / 2 and not any(set(s.units) & set(vote.span.units) for s in gold):
            expected = "decide"
        else:
            expected = "outvoted"
        assert vote.decision == expected


TEXTS = ("No ataxia in mild gout .", "Severe lupus and gout .", "Only one read this .")
MARKED: dict[str, list[list[tuple[int, int]] | None]] = {
    "anna": [[(3, 9), (13, 22)], [(0, 12), (17, 21)], [(0, 4)]],
    "bob": [[(3, 9), (18, 22)], [(7, 12), (17, 21)], None],
    "cleo": [[(3, 9), (18, 22)], [(0, 6)], None],
}


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = []
    for name, marked in MARKED.items():
        documents = [
            Document.from_text(text, f"d{i}", layers={"Disease": spans})
            for i, (text, spans) in enumerate(zip(TEXTS, marked, strict=True))
            if spans is not None
        ]
        write_jsonl(documents[:: -1 if name == "bob" else 1], tmp_path / f"{name}.jsonl")
        found.append(str(tmp_path / f"{name}.jsonl"))
    return found


def entities(document: Document, name: str) -> list[tuple[str, Any]]:
    return [(each.text, each.metadata.label) for each in document.get_layer(name)]


def test_most_make_the_gold_and_the_rest_is_to_be_decided(
    paths: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gold, mend = tmp_path / "gold.jsonl", tmp_path / "mend.jsonl"
    words = [*paths, "label_field=Disease", "processors=tokens"]
    assert main(["adjudicate", *words, f"output_path={gold}", f"documents_path={mend}"]) == 0
    told = capfd.readouterr().out
    first, second = read_documents(gold)
    assert entities(first, "Disease") == [("ataxia", "Disease"), ("gout", "Disease")]
    assert entities(second, "Disease") == [("gout", "Disease")]
    assert [(e.metadata.votes, e.metadata.by) for e in first.get_layer("Disease")] == [
        ("3/3", "anna, bob, cleo"),
        ("2/3", "bob, cleo"),
    ]
    one, other = read_documents(mend)
    assert entities(one, "disputed") == [("mild gout", "outvoted_Disease")]
    assert entities(other, "disputed") == [
        ("Severe", "decide_Disease"),
        ("Severe lupus", "decide_Disease"),
        ("lupus", "decide_Disease"),
    ]
    assert entities(other, "Disease") == [("gout", "Disease")]
    assert "3 annotators: anna, bob, cleo" in told
    assert "2 documents labelled by two or more, 2 by all, 1 more by one alone" in told
    assert "entities 1 marked by all, 2 by most, 3 to decide, 1 outvoted" in told
    assert "  d1  Disease  Severe lupus  anna of 3" in told
    tokens = [[(t.start, t.end) for t in document.tokens] for document in (first, second)]
    labels = [
        [
            int(any(start < stop_of and start_of < stop for start_of, stop_of in marked[number] or ()))
            for number in (0, 1)
            for start, stop in tokens[number]
        ]
        for marked in MARKED.values()
    ]
    assert main(["adjudicate", *words, "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["alpha"] == pytest.approx(krippendorff_alpha(labels))
    assert [each["text"] for each in facts["to_decide"]] == ["Severe", "Severe lupus", "lupus"]


def test_an_annotation_tool_opens_what_is_disputed(paths: list[str], tmp_path: Path) -> None:
    words = [*paths, "label_field=Disease", "processors=tokens", f"documents_path={tmp_path / 'mend'}", "writer=brat"]
    assert main(["adjudicate", *words]) == 0
    found = "".join(file.read_text() for file in sorted((tmp_path / "mend").rglob("*.ann")))
    assert "decide_Disease 0 12\tSevere lupus" in found
    assert "\tDisease 3 9\tataxia" in found


@pytest.mark.parametrize(
    ("count", "more", "code", "said"),
    [
        (1, ["label_field=Disease"], 2, "expected the files or folders of two annotators or more"),
        (2, [], 2, "label_field is missing"),
        (2, ["label_field=Diseas"], 3, "Diseas"),
        (2, ["label_field=Disease", "output_path=-"], 2, "standard output is for the counts"),
    ],
)
def test_what_cannot_be_put_together_is_told(
    paths: list[str], count: int, more: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["adjudicate", *paths[:count], "processors=tokens", *more]) == code
    assert said in capfd.readouterr().err
