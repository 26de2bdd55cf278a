"""What the report and the card of a real run tell: pages, options and their origin, the run before, the command."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from papermage_core.config import load_config
from papermage_core.evaluation import score
from papermage_core.plugin.spec import UnitSpan
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.record import previous_run
from tests.evaluation.test_error_browser import pages_of, paper
from tests.evaluation.test_report import Reader, read

SMALL = {"encoder.width": 16, "encoder.rows": 100, "enable_progress_bar": False, "batch_size": 4, "max_epochs": 1}


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    path = tmp_path / "papers.jsonl"
    path.write_bytes(b"".join(paper(f"p{i}").to_bytes() + b"\n" for i in range(4)))
    return path


def run(papers: Path, name: str, **values: Any) -> Reader:
    given = {"data_path": papers, "val_data_path": papers, "label_field": "heading", **SMALL, **values}
    folder = papers.parent / name
    EntityClassificationTrainer(EntityClassificationTrainConfig(default_root_dir=folder, **given)).train()
    return read(folder / "report.html")


def data_of(page: Reader) -> dict[str, Any]:
    return {name: json.loads(content) for name, content in page.data.items()}


def test_the_report_of_a_run_has_the_pages_of_its_mistakes_and_the_run_before(
    papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(papers, "one")
    monkeypatch.setattr("papermage_core.data.corpus._IN_MEMORY", 0)  # documents are on disk, and read by their place
    second = run(papers, "two", cache=False)
    pages = [pages_of(data_of(page)) for page in (first, second)]
    assert len(pages[0]) == 12
    assert sorted(map(repr, pages[0].values())) == sorted(map(repr, pages[1].values()))
    assert all(row[-1] for row in data_of(second)["mistakes"])
    assert "against one, the run before it" in " ".join(second.text.split())
    assert "the run before it" not in first.text


def test_every_option_is_there_with_its_origin_and_the_command_repeats_the_run(papers: Path) -> None:
    page = run(papers, "one", learning_rate=0.01)
    text = " ".join(page.text.split())
    for key, value, source in (
        ("encoder.width", "16", "Python"),
        ("learning_rate", "0.01", "Python"),
        ("max_epochs", "1", "Python"),
        ("weight_decay", "0.01", "default"),
        ("encoder", "compact", "default"),
        ("encoder.dropout", "0.4", "default"),
        ("find_learning_rate", "false", "default"),
    ):
        assert f"{key}{value}{source}" in text, key
    command = re.search(r"papermage-train -c (\S+) default_root_dir=FOLDER", page.text)
    assert command is not None
    assert load_config([Path(*shlex.split(command[1]))]).learning_rate == 0.01
    card = (papers.parent / "one" / "checkpoints" / "README.md").read_text()
    for told in ("papers.jsonl", "learning_rate=0.01", "fingerprint", "model-index", "papermage-train -c"):
        assert told in card


def test_mode_eval_writes_a_report_with_pages(papers: Path) -> None:
    run(papers, "one")
    config = EntityClassificationTrainConfig(
        mode="eval",
        model_name_or_path=str(papers.parent / "one" / "checkpoints"),
        data_path=papers,
        label_field="heading",
        default_root_dir=papers.parent / "scored",
    )
    page = read(EntityClassificationTrainer(config).evaluate().report)
    assert len(pages_of(data_of(page))) == 12
    assert "papermage-train mode=eval" in page.text


def test_the_run_before_is_the_last_on_as_much_gold(tmp_path: Path) -> None:
    right, other = [[UnitSpan.of("a", 0, 1)]], [[UnitSpan.of("b", 0, 1)]]
    for name, found in (("same", score(right, right)), ("other", score(other, other)), ("mine", score(right, right))):
        results = tmp_path / name / "results"
        results.mkdir(parents=True)
        content = {"splits": {"val": {"scores": found.to_json()}}}
        (results / "results.json").write_text(json.dumps(content))
    for name, text in (("torn", '{"splits"'), ("odd", '[{"splits": 1}]')):
        (tmp_path / name / "results").mkdir(parents=True)
        (tmp_path / name / "results" / "results.json").write_text(text)
    found = previous_run(tmp_path / "mine", "val", score(right, [[]]))
    assert found is not None
    assert (found.name, found.f1) == ("same", 1.0)
    assert previous_run(tmp_path / "mine", "test", score(right, [[]])) is None
    assert previous_run(tmp_path / "nowhere" / "mine", "val", score(right, [[]])) is None
