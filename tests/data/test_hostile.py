"""Every hostile file does what its note asks, as far as reading and aligning go."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.data.corpus import read_corpus
from papermage_core.data.gold import encode_gold
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Task
from papermage_core.data.source import DocumentSource
from papermage_core.errors import PapermageError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextNeeds
from papermage_core.training.prepare import check_labelled


def cases() -> list[Any]:
    folder = os.environ.get("PAPERMAGE_CORPORA")
    if not folder:
        return [pytest.param(None, id="corpora not given")]
    found = json.loads((Path(folder) / "hostile" / "cases.json").read_text(encoding="utf-8"))
    found = found if isinstance(found, list) else found["cases"]
    return [pytest.param(case, id=case["file"]) for case in found]


def load(path: Path) -> tuple[int, Issues]:
    """Return the documents that a training run would learn from, and what was odd."""
    layer = "O" if path.name == "layer_named_O.jsonl" else "Disease"
    config = EntityClassificationTrainConfig(data_path=path, label_field=layer, context_name="pages")
    components = config.components(Plugins())
    source = DocumentSource(config.data_path, components.reader)
    corpus = read_corpus(source, config.labelling, ContextNeeds(boxes=True), spool=Path("unused"))
    check_labelled(corpus)
    issues = Issues()
    issues.merge([corpus.issues])
    corpus.count_repeated(issues)
    tasks = [Task(("Disease",), components.scheme.build(("Disease",)))]
    for parsed in corpus:
        encode_gold(parsed, tasks, issues, "longest")
    return len(corpus), issues


@pytest.mark.parametrize("case", cases())
def test_a_hostile_file_does_what_its_note_asks(case: dict[str, Any] | None, corpora: Path) -> None:
    assert case is not None
    path = corpora / "hostile" / case["file"]
    if case["expect"] == "error":
        with pytest.raises(PapermageError) as caught:
            load(path)
        message = str(caught.value)
        assert len(message.splitlines()) <= 3
        if isinstance(case.get("line"), int):
            assert f"line {case['line']}" in message or path.name == "layer_named_O.jsonl"
        return
    try:
        count, issues = load(path)
    except PapermageError:
        assert case["expect"] == "either"
        return
    assert count >= 1
    if case["expect"] == "warn":
        assert issues.counts, "what is odd is counted"
