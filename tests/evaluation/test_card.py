"""The model card, whatever names it holds; markdown-it is the oracle."""

from __future__ import annotations

import html
import re

import pytest
import yaml

from papermage_core.evaluation import Counts, RunSummary, Scores, model_card
from papermage_core.terminal import printable

HOSTILE = (
    "<script>alert(1)</script>", "<!-- x", "&lt;b&gt;", "![i](https://x.y/z.png)", "[a](javascript:b)",
    "[a]: http://b", "https://x.y", "www.x.y", "a@x.y", "# a", "1. a", "1) a", "- a", "+ a", "* a", "> a", "= a",
    "---", "~~~", "```", "`a`", "a``b", "`", "*a*", "_a_", "__a__", "a_b_c", "snake_case", "a|b", "|a|", "\\", "\\*a",
    "$a$", "~~a~~", "a  b", "x\ny", "\x1b[31m", "\u202ea", "\ud800", "<", "&", "**", "a\\`b", "0.1+cpu", "naïve 名",
    "<https://x.y>", "&#42;", "a -- b",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_renderer_shows_every_name_of_the_card_as_it_is_and_nothing_more(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    run = RunSummary(
        title=text, labels=(text, "y"), entity_name=text, components={text: text}, versions={text: text}, notes=text
    )
    page = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(model_card(run).split("---\n", 2)[2])
    shown = html.escape(" ".join(printable(text).split()), quote=False).replace('"', "&quot;")
    assert f"<h1>{shown}</h1>" in page
    assert f"<p>Finds <code>{shown}</code> and <code>y</code> in scientific documents" in page
    assert f"entity of the layer <code>{shown}</code>, read together" in page
    assert page.count(f"<li>{shown}: {shown}</li>") == 2
    assert f"<h2>Notes</h2>\n<p>{shown}</p>" in page
    assert len(re.findall(r"<\w+", page)) == len(re.findall(r"<\w+", page.replace(shown, "x")))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_cannot_leave_its_cell_of_the_cards_table(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    counts = Counts(gold=3, found=1, predicted=2, right=1)
    scores = Scores(micro=counts, per_label={text: counts})
    card = model_card(RunSummary(title="t", scores={text: scores}))
    page = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(card.split("---\n", 2)[2])
    shown = html.escape(" ".join(printable(text).split()), quote=False).replace('"', "&quot;")
    assert f"<h2>Scores on {shown}</h2>" in page
    assert re.search(rf"<tr>\n<td>{re.escape(shown)}</td>\n<td[^>]*>50.0</td>", page)
    assert page.count("<tr>") == 3


def test_the_hub_reads_the_scores_out_of_the_card() -> None:
    hub = pytest.importorskip("huggingface_hub")
    scores = Scores(
        micro=Counts(gold=4, found=3, predicted=6, right=3),
        per_label={
            "few": Counts(gold=4, found=3, predicted=6, right=3),
            "weak": Counts(gold=40, found=4, predicted=9, right=4),
        },
    )
    run = RunSummary(
        title="title, author",
        labels=("title", "author"),
        scores={"test": scores},
        config={
            "data_path": "/d/a.jsonl",
            "test_data_path": "/d/my set/test: 1.jsonl",
            "seed": "1\n```",
            "head": "crf",
        },
        sources={"seed": "command line"},
        command="papermage-train -c config.yaml",
        files={"/d/a.jsonl": "ab12"},
        fingerprint="cd34",
        base_model="allenai/scibert",
        finished="2026-01-02 03:04",
    )
    content = model_card(run)
    data = hub.ModelCard(content).data
    assert (data.model_name, data.base_model, data.library_name) == (
        "title, author",
        "allenai/scibert",
        "papermage_core",
    )
    found = {
        result.metric_type: (result.metric_value, result.dataset_name, result.dataset_split)
        for result in data.eval_results
    }
    assert found["f1"] == (0.6, "my set/test: 1.jsonl", "test")
    assert found["recall"][0] == 0.75
    for text in (
        "ab12",
        "cd34",
        "say little: `few`",
        "F1 below 50: `weak`",
        "papermage-train -c",
        "2026-01-02",
        "head=crf",
    ):
        assert text in content
    assert "````\nseed=1 ```\n````" in content


@pytest.mark.parametrize("text", HOSTILE)
def test_the_front_matter_is_yaml_whatever_it_holds(text: str) -> None:
    counts = Counts(gold=3, found=1, predicted=2, right=1)
    scores = Scores(micro=counts, per_label={"a": counts})
    run = RunSummary(title=text, scores={text: scores}, config={"data_path": text}, base_model=text)
    front = yaml.safe_load(model_card(run).split("---\n", 2)[1])
    (index,) = front["model-index"]
    assert index["name"] == (" ".join(printable(text).split()) or "papermage_core")
    assert index["results"][0]["metrics"][2]["value"] == 0.4
    assert index["results"][0]["dataset"]["type"]


def test_no_bare_address_of_the_card_becomes_a_link() -> None:
    card = model_card(RunSummary(title="https://x.y and WWW.x.y and a@x.y", notes="HTTP://x.y"))
    assert not re.search(r"(?i)https?://|www\.|\w@\w", card)
