"""Gold that was broken on purpose is ranked high, is shown, and goes back to an annotation tool."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from papermage_core.cli.data import main
from papermage_core.data import read_documents
from papermage_core.evaluation import ErrorRecord
from papermage_core.evaluation.audit import LEAST, Auditor
from papermage_core.plugin.spec import Context, UnitSpan
from papermage_core.testing import make_documents, write_jsonl

WORDS = ["the", "of", "gene", "causes", "rare", "with", "seen", "in", "and", "some"]
THINGS = {"Disease": ["ataxia", "diabetes", "asthma", "anaemia"], "Drug": ["aspirin", "insulin", "statin", "heparin"]}


class _Parsed:
    """What the auditor looks at of a parsed document."""

    def __init__(self, words: list[str], gold: list[UnitSpan]) -> None:
        space = np.ones(len(words), np.bool_)
        self.contexts = [Context(words=words, space_before=space)]
        self.units = [np.arange(len(words))]
        self.n_units = len(words)
        self.gold = ([_Gold(span) for span in gold],)


class _Gold:
    def __init__(self, span: UnitSpan) -> None:
        self._span = span

    def as_span(self) -> UnitSpan:
        return self._span


def world(seed: int, n_documents: int = 80) -> tuple[Auditor, set[tuple[int, str]], int]:
    """Documents that a fair model judged, one in twenty of whose gold entities is wrong; and which those are."""
    rng = np.random.default_rng(seed)
    auditor, broken, total = Auditor(), set(), 0
    for number in range(n_documents):
        words = [str(rng.choice(WORDS)) for _ in range(60)]
        true = []
        for start in range(2, 58, 7):
            label = str(rng.choice(["Disease", "Drug"]))
            words[start] = str(rng.choice(THINGS[label]))
            true.append(UnitSpan.of(label, start, start + 1))
        gold = []
        for span in true:
            way = str(rng.choice(["missing", "spurious", "boundary", "label"])) if rng.random() < 0.05 else ""
            other = "Drug" if span.label == "Disease" else "Disease"
            if way:
                broken.add((number, way))
            gold += {
                "missing": [],
                "spurious": [span, UnitSpan.of(other, span.start + 3, span.start + 4)],
                "boundary": [UnitSpan.of(span.label, span.start, span.stop + 1)],
                "label": [UnitSpan.of(other, span.start, span.stop)],
            }.get(way, [span])
        likely, outside = [], np.clip(rng.beta(60, 1, 60), 0.01, 0.999)
        for span in true:
            sure = float(rng.beta(6, 1)) if rng.random() < 0.9 else float(rng.beta(1, 6))  # it errs, too
            outside[span.start] = 1 - sure
            likely += [UnitSpan(span.label, span.segments, sure)] if sure > LEAST else []
        for _ in range(2):
            at = int(rng.integers(60))
            likely.append(UnitSpan.of("Drug", at, at + 1, float(rng.beta(1, 4))))
        likely = list({span: None for span in likely if (span.score or 0) > LEAST})
        total += len(gold)
        auditor.add(_Parsed(words, gold), likely, outside)  # type: ignore[arg-type]
    return auditor, broken, total


@pytest.mark.parametrize("seed", range(3))
def test_broken_gold_comes_first(seed: int) -> None:
    auditor, broken, total = world(seed)
    suspects = auditor.suspects()
    assert auditor.gold_count == total
    top = {(s.document, s.kind) for s in suspects[: round(0.1 * total)]}
    assert len(broken & top) >= 0.85 * len(broken)
    assert [s.odds for s in suspects] == sorted((s.odds for s in suspects), reverse=True)
    assert {s.kind for s in suspects} == {"missing", "spurious", "boundary", "label"}
    for suspect in suspects:
        assert (suspect.gold is None) == (suspect.kind == "missing")
        assert (suspect.suggestion is None) == (suspect.kind == "spurious")


def test_gold_that_the_model_agrees_with_is_no_suspect() -> None:
    auditor = Auditor()
    span = UnitSpan.of("a", 1, 2)
    for _ in range(5):
        agreed = [UnitSpan("a", span.segments, 0.99)]
        auditor.add(_Parsed(["x", "y", "z"], [span]), agreed, np.array([0.99, 0.01, 0.99]))  # type: ignore[arg-type]
    assert auditor.suspects() == []


def test_texts_are_counted_where_they_are_free_and_where_they_are_marked() -> None:
    from papermage_core.evaluation.audit import _Texts

    auditor = Auditor()
    words = ["new", "york", "and", "new", "york", "or", "york"]
    gold = [UnitSpan.of("a", 0, 2)]
    auditor.add(_Parsed(words, gold), [UnitSpan.of("a", 6, 7, 0.5)], np.ones(7))  # type: ignore[arg-type]
    auditor.add(_Parsed(["york"], []), [], np.ones(1))  # type: ignore[arg-type]
    texts = _Texts(auditor._documents)
    assert texts.odds(0, gold[0], 0, 0) == pytest.approx([np.log(1.5 / 1.5), np.log1p(2)])
    assert texts.odds(0, UnitSpan.of("a", 6, 7), 0, 0) == pytest.approx([np.log(0.5 / 3.5), np.log1p(3)])
    assert texts.odds(0, gold[0], 1, 1) == pytest.approx([0.0, 0.0])


def test_the_command_ranks_shows_and_gives_back(
    train_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [json.loads(line) for line in train_file.read_text().splitlines()]
    for document in documents[::3]:
        document["entities"]["names"].pop(1)  # forgotten
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(document) + "\n" for document in documents))
    given = [
        f"data_path={data}", "label_field=names,amounts", "folds=2", "head=crf", "max_epochs=2", "cache=false",
        "encoder.width=16", "encoder.rows=500", "learning_rate=0.02", "batch_size=4", "val_split=0",
        "enable_progress_bar=false", f"default_root_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    assert main(["audit", *given, f"documents_path={tmp_path / 'back'}", "writer=brat", "share=0.2"]) == 0
    told = capsys.readouterr().out
    assert "look at the first" in told
    rows = [json.loads(line) for line in (tmp_path / "run" / "audit" / "audit.jsonl").read_text().splitlines()]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    texts = {document.id: document.symbols for document in read_documents(data)}
    for row in rows:
        record = ErrorRecord.from_json(row)
        assert texts[record.document][record.start_char : record.end_char] == record.text
    assert "<title>Audit of names, amounts" in (tmp_path / "run" / "audit" / "audit.html").read_text()
    back = list(read_documents(tmp_path / "back"))
    marked = [name for document in back for name in document.layer_names if name.startswith("audit_")]
    assert marked
    before = (tmp_path / "run" / "audit" / "audit.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["audit", *given, "share=0.1"]) == 3
    assert "audit.jsonl already: choose another output_path, or type overwrite=true" in capsys.readouterr().err
    (tmp_path / "taken").touch()
    assert main(["audit", *given, f"output_path={tmp_path / 'taken'}"]) == 2
    assert main(["audit", *given, f"output_path={tmp_path / 'other'}"]) == 0
    assert (tmp_path / "other" / "audit.jsonl").read_bytes() == before
    assert main(["audit", *given, f"output_path={tmp_path / 'third'}", f"documents_path={data}"]) == 2
    assert main(["audit", *given, f"output_path={tmp_path / 'third'}", "seed=1,2"]) == 2


def test_a_file_for_what_is_a_folder_is_refused_before_anything_is_trained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_jsonl(make_documents(6), tmp_path / "a.jsonl")
    given = [f"data_path={path}", "label_field=Disease", f"default_root_dir={tmp_path / 'run'}"]
    assert main(["audit", *given, f"output_path={tmp_path / 'suspects.jsonl'}"]) == 2
    assert "expected a folder, which gets audit.jsonl and audit.html" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
