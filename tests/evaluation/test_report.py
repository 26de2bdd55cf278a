"""The report and the model card of a run, whatever it holds."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from papermage_core.evaluation import (
    CalibrationSummary,
    PreviousRun,
    RunSummary,
    Scorer,
    UnitText,
    errors,
    expected_calibration_error,
    fit_calibration,
    model_card,
    reliability,
    score,
    score_units,
    write_report,
)
from papermage_core.evaluation.report import report_html
from papermage_core.plugin.spec import UnitSpan

HOSTILE = "</span><script>alert(1)</script> \" ' & é \ud800 \u202e"


class Reader(HTMLParser):
    """Collects text and checks that tags close in the order they opened."""

    EMPTY = frozenset({"meta", "br", "path", "circle", "line", "rect", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.data: dict[str, str] = {}
        self.addresses: list[str] = []
        self.code = 0
        self._name: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self._name = dict(attrs).get("id") if tag == "script" else None
        self.code += tag == "script" and self._name is None
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._name:
            self.data[self._name] = self.data.get(self._name, "") + data
        elif self.open[-1:] not in (["script"], ["style"]):
            self.text += data


def read(path: Path) -> Reader:
    page = Reader()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def full_run() -> RunSummary:
    gold = [[UnitSpan.of("author", 0, 2), UnitSpan.of("date", 3, 4)]]
    predicted = [[UnitSpan.of("author", 0, 1, score=0.75), UnitSpan.of(HOSTILE, 3, 4, score=0.5)]]
    text = UnitText(
        document=HOSTILE, symbols=f"ab cd {HOSTILE}", starts=np.array([0, 3, 5, 6]), stops=np.array([2, 5, 6, 12])
    )
    scores, correct = [0.9, 0.8, 0.3, 0.7], [True, False, False, True]
    calibration = fit_calibration(scores, correct)
    return RunSummary(
        title=f"run {HOSTILE}",
        labels=("author", "date"),
        components={"head": "crf", "encoder": "compact"},
        config={"head.dropout": 0.1, HOSTILE: HOSTILE, "patience": None},
        sources={"head.dropout": "command line"},
        command="papermage-train -c config.yaml",
        previous=PreviousRun(name="before", f1=0.0),
        data={"train": {"documents": 3, "units": 70}, "val": {"documents": 1}},
        label_counts={"train": {"author": 7}, "val": {"author": 1, "date": 1}},
        issues={"cut by a context": 2},
        history=[
            {"epoch": 0, "train_loss": 2.0, "val_f1": 0.1},
            {"epoch": 1, "train_loss": float("nan"), "val_f1": 0.4},
        ],
        scores={"val": score(gold, predicted, gold_unreachable={"date": 1})},
        units={"val": score_units([np.array([1, 2])], [np.array([1, 0])], ("O", "B-author", "I-author"))},
        errors=errors(gold, predicted, [text]),
        calibration=CalibrationSummary(
            split="val",
            calibration=calibration,
            error_before=expected_calibration_error(scores, correct),
            error_after=expected_calibration_error(calibration.apply(scores), correct),
            bins_before=reliability(scores, correct),
            bins_after=reliability(calibration.apply(scores), correct),
        ),
        seconds=12.0,
        finished="2026-01-02 03:04",
        versions={"papermage_core": "0.1.0"},
        notes=HOSTILE,
    )


@pytest.mark.parametrize("run", [full_run(), RunSummary(title="")], ids=["full", "empty"])
def test_the_report_is_well_formed_and_loads_nothing(tmp_path: Path, run: RunSummary) -> None:
    write_report(tmp_path / "report.html", run)
    page = read(tmp_path / "report.html")
    assert page.seen.isdisjoint({"link", "img", "iframe", "object", "base"})
    assert page.code == 1
    assert all(address.startswith("#") for address in page.addresses)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_policy_allows_the_script_and_the_style_of_the_page_alone(tmp_path: Path) -> None:
    text = report_html(full_run())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    directives = dict(each.split(" ", 1) for each in unescape(policy[1]).split("; "))
    assert directives.keys() == {"default-src", "script-src", "style-src", "img-src"}
    assert directives["default-src"] == "'none'"
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert directives[name] == f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def test_the_report_shows_scores_mistakes_curves_and_options(tmp_path: Path) -> None:
    run = full_run()
    write_report(tmp_path / "report.html", run)
    page = read(tmp_path / "report.html")
    for shown in (
        "Scores on val",
        "wrong boundary",
        "train loss",
        "epoch",
        "share that is right",
        "before calibration",
        "head.dropout",
        "command line",
        "cut by a context",
        "papermage-train -c",
        "+0.0 against before",
    ):
        assert shown in " ".join(page.text.split()), shown
    assert f"{100 * run.scores['val'].f1:.1f}" in page.text
    assert "svg" in page.seen


def test_mistakes_are_data_of_the_page_with_their_place_in_their_text(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", full_run())
    page = read(tmp_path / "report.html")
    index, rows = json.loads(page.data["errors"]), json.loads(page.data["mistakes"])
    assert index["total"] == len(rows) == 2
    first = rows[0]  # of the higher score
    assert [index["kinds"][first[0]], index["labels"][first[2]], first[4]] == ["wrong boundary", "author", 0.75]
    text, gold, predicted = first[7:10]
    assert [text[slice(*gold)], text[slice(*predicted)]] == ["ab cd", "ab"]


def test_interval_and_confusions_are_told(tmp_path: Path) -> None:
    scorer = Scorer(("a", "b"))
    for number in range(20):
        other = "b" if number < 5 else "a"
        scorer.add([UnitSpan.of("a", 0, 1)], [UnitSpan.of(other, 0, 1)])
    scores = scorer.scores(intervals=True)
    low, high = scores.intervals["micro"]["f1"]
    assert low < 0.75 < high
    records = [
        record
        for _ in range(5)
        for record in errors([[UnitSpan.of("a", 0, 1)]], [[UnitSpan.of("b", 0, 1)]], [words("x y")])
    ]
    run = RunSummary(title="t", scores={"val": scores}, errors=records)
    write_report(tmp_path / "report.html", run)
    page = read(tmp_path / "report.html")
    assert f"with 95 % confidence {100 * low:.1f} to {100 * high:.1f}" in " ".join(page.text.split())
    assert "#gold=a&predicted=b" in page.addresses


@pytest.mark.parametrize("count", [1, 31, 200])
def test_any_number_of_labels_is_shown(tmp_path: Path, count: int) -> None:
    labels = [f"l{i}" for i in range(count)]
    gold = [[UnitSpan.of(label, i, i + 1) for i, label in enumerate(labels)]]
    run = RunSummary(title="t", scores={"val": score(gold, [[]])}, errors=errors(gold, [[]], [words("w " * count)]))
    write_report(tmp_path / "report.html", run)
    page = read(tmp_path / "report.html")
    assert {f"#label={label}" for label in labels} <= {*page.addresses}
    assert len(json.loads(page.data["mistakes"])) == count


def test_no_mistakes_are_told_as_such(tmp_path: Path) -> None:
    gold = [[UnitSpan.of("a", 0, 1)]]
    write_report(tmp_path / "report.html", RunSummary(title="t", scores={"val": score(gold, gold)}))
    assert "None: every entity was found" in read(tmp_path / "report.html").text


def words(text: str) -> UnitText:
    found = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    starts, stops = np.array(found).T
    return UnitText(document="d", symbols=text, starts=starts, stops=stops)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(target, RunSummary(title="t"))
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_model_card_has_front_matter_that_yaml_reads_and_the_scores() -> None:
    card = model_card(full_run())
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "papermage_core"
    assert "| **all (micro)** | 0.0 | 0.0 | 0.0 | 3 |" in body
    assert "`author` and `date`" in body
    assert "from_pretrained" in body


def test_a_name_with_a_newline_stays_on_its_line_of_the_card() -> None:
    card = model_card(RunSummary(title="a\n# b", labels=("x\n# y",), notes="n\n## z"))
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == ["# a # b", "## Use", "## Notes"]


def test_the_card_of_an_empty_run_still_says_how_to_load_it() -> None:
    assert "Finds entities in scientific documents" in model_card(RunSummary(title="t"))
