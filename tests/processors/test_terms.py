"""Terms are found where a search of every stretch of tokens finds them, whatever the form of the list."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Box, Document, Entity, Span, read_documents
from papermage_core.cli.data import main as data_main
from papermage_core.data import processed
from papermage_core.errors import DataError
from papermage_core.prediction import Recipe
from papermage_core.testing import DocumentProcessorSuite
from papermage_processors.matching import Matcher
from papermage_processors.term_lists import Term
from papermage_processors.terms import TermsConfig

TEXT = "Wilson disease was not seen;\nWAS was, and so were IL-2, PKU and ﬁbrosis at 5 mg/day (NCT01234567)."


@pytest.fixture
def make_list(tmp_path: Path):
    def make(content: str, name: str = "terms.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        return path

    return make


def find(text: str, path: Path, **options: object) -> list[tuple[str, ...]]:
    (document,) = TermsConfig(path=path, **options).build().process([Document(text)])
    return [(entity.text, *entity.metadata.to_json().values()) for entity in document.terms]


class TestTerms(DocumentProcessorSuite):
    component = "terms"

    @pytest.fixture(autouse=True)
    def listed(self, tmp_path: Path) -> None:
        path = tmp_path / "some.tsv"
        path.write_text("term\tlabel\tidentifier\nataxia\tDisease\tD001259\n/[0-9]+/\tNumber\nword7\n")
        type(self).options = (
            {"path": path},
            {"path": path, "layer_name": "mine", "case": "exact", "unless": "sentences"},
        )


def test_words_are_found_whole_over_line_breaks_and_ligatures(make_list):
    path = make_list("wilson disease\nIL-2\nfibrosis\nwas not seen ; wAS\nNC\ndisease\nmg / day\n")
    assert [text for text, _ in find(TEXT, path)] == ["Wilson disease", "IL-2", "ﬁbrosis", "mg/day"]
    assert [text for text, _ in find(TEXT, path, case="ignore")][1] == "was not seen; WAS"


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("auto", ["Wilson disease", "WAS", "PKU"]),
        ("exact", ["WAS", "PKU"]),
        ("ignore", ["Wilson disease", "was", "WAS", "was", "PKU"]),
    ],
)
def test_case_tells_abbreviations_from_words(make_list, case, found):
    path = make_list("wilson disease\nWAS\nPKU\nSo wE\n")
    assert [text for text, _ in find(TEXT, path, case=case)] == found


EXPECTED = [("Wilson disease", "Disease", "D006527"), ("PKU", "Disease"), ("NCT01234567", "Trial")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "Wilson disease\tDisease\tD006527\n\n  PKU\tDisease\n/NCT\\d{8}/\tTrial\n"),
        (
            "a.tsv",
            "identifier\tTerm\tlabel\r\nD006527\tWilson disease\tDisease\r\n\tPKU\tDisease\r\n\t/NCT\\d{8}/\tTrial",
        ),
        (
            "a.csv",
            '\ufeffterm,label,identifier\n"Wilson disease",Disease,D006527\nPKU,Disease\n"/NCT\\d{8,8}/",Trial',
        ),
        ("a.csv.gz", 'label,term,identifier\nDisease,Wilson disease,D006527\nDisease,PKU\nTrial,"/NCT\\d{8}/"\n'),
        (
            "a.jsonl",
            '{"label": "Disease", "pattern": [{"lower": "wilson"}, {"LOWER": "disease"}], "id": "D006527"}\n'
            '{"label": "Disease", "pattern": [{"ORTH": "PKU"}]}\n\n{"label": "Trial", "pattern": "/NCT\\\\d{8}/"}',
        ),
    ],
)
def test_every_form_of_a_list_says_the_same(make_list, tmp_path, name, content):
    path = make_list(content, name)
    assert find(TEXT, path) == EXPECTED
    kept = TermsConfig(path=path).save(tmp_path)
    assert find(TEXT, kept.load(tmp_path).path) == EXPECTED
    assert kept.load(tmp_path).fingerprint == TermsConfig(path=path).fingerprint


def test_terms_without_a_label_get_that_of_the_list(make_list):
    path = make_list("PKU\nWAS\tGene\n")
    assert find(TEXT, path) == [("WAS", "Gene"), ("PKU", "terms")]
    assert find(TEXT, path, label="Disease") == [("WAS", "Gene"), ("PKU", "Disease")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            "one\ttwo\tthree\tfour",
            r"a\.txt, line 1: this line has 4 columns; expected at most term, label",
        ),
        ("a.tsv", "one\n\tDrug\n", r"a\.tsv, line 2: this line has no term"),
        ("a.txt", "one\n\n/(/\n", r"a\.txt, line 3: the regular expression /\(/ is wrong: missing \)"),
        ("a.txt", " \n", r"a\.txt: there is no term in this list"),
        ("a.jsonl", '{"pattern": "a"}\n{"pattern"', r"a\.jsonl, line 2: is not JSON"),
        ("a.jsonl", '["a"]', r"a\.jsonl, line 1: is no pattern"),
        ("a.jsonl", '{"pattern": "a", "lable": "b"}', r"line 1: unknown key 'lable'\. Did you mean 'label'\?"),
        (
            "a.jsonl",
            '{"pattern": [{"POS": "NOUN"}]}',
            r"line 1: the token .*NOUN.* cannot be matched.*{\"lower\"",
        ),
        ("a.jsonl", '{"pattern": [{"lower": {"IN": ["a"]}}]}', "line 1: the token .* cannot be matched"),
        ("a.jsonl", '{"pattern": [{"lower": "a"}, {"text": "B"}]}', "line 1: some tokens .* are lower and others text"),
        ("a.jsonl", '{"pattern": []}', "line 1: this pattern is empty"),
        ("a.jsonl", '{"pattern": "a", "label": ["b"]}', "line 1: expected texts as label and id"),
        ("a.jsonl", '{"pattern": "a", "case": "b"}', 'line 1: .*"exact" or "ignore" as case'),
        ("none/a.txt", None, r"none/a\.txt: cannot "),
    ],
)
def test_a_list_that_cannot_be_read_says_where(make_list, tmp_path, name, content, message):
    path = tmp_path / name if content is None else make_list(content, name)
    with pytest.raises(DataError, match=message):
        TermsConfig(path=path).build()


def test_a_term_that_stands_twice_with_another_label_is_told(make_list, caplog):
    path = make_list("APC\tGene\t324\nAPC\tGene\t324\napc gene\tGene\nAPC\tDisease\n")
    with caplog.at_level(logging.WARNING):
        assert find("APC", path) == [("APC", "Gene", "324")]
    (record,) = caplog.records
    assert "1 term has another label or identifier than" in record.getMessage()
    assert "'APC' is Gene 324, not Disease" in record.getMessage()


def test_layers_named_win_over_terms(make_list):
    path = make_list("old\nold man\nsea\n")
    document = Document.from_text(
        "The old man and the sea, the old sea.", layers={"drug": [(8, 11)], "gene": [(20, 21)]}
    )
    (found,) = TermsConfig(path=path, unless=("drug", "gene", "none")).build().process([document])
    assert [entity.text for entity in found.terms] == ["old", "old", "sea"]
    assert [span.start for entity in found.terms for span in entity.spans] == [4, 29, 33]


def test_a_term_has_a_box_for_each_line_and_page_that_it_stands_in(make_list):
    places = [(0, 5, 0.7, 0.1, 0), (6, 12, 0.8, 0.105, 0), (13, 16, 0.1, 0.13, 0), (17, 20, 0.1, 0.05, 1)]
    document = Document("large family was one")
    tokens = [Entity([Span(a, b)], [Box(left, top, 0.08, 0.02, page)]) for a, b, left, top, page in places]
    document.annotate_layer("tokens", tokens)
    (found,) = TermsConfig(path=make_list("large family was one")).build().process([document])
    ((first, second, third),) = [entity.boxes for entity in found.terms]
    assert first.to_json() == pytest.approx([0.7, 0.1, 0.18, 0.025, 0])
    assert second.to_json() == pytest.approx([0.1, 0.13, 0.08, 0.02, 0])
    assert third.to_json() == pytest.approx([0.1, 0.05, 0.08, 0.02, 1])


WORDS = st.lists(st.sampled_from(["a", "B", "ab", "-", "\u00e9", "1"]), min_size=1, max_size=3)


def slowly(text: str, terms: Sequence[Sequence[str]]) -> list[tuple[int, int, int]]:
    """Every stretch of tokens that is a term in any case; the longest first, where nothing is found yet."""
    tokens = [(m.start(), m.end(), m[0].lower()) for m in re.finditer(r"\w+|[^\w\s]", text)]
    found = []
    for i in range(len(tokens)):
        for j in range(i + 1, len(tokens) + 1):
            here = [word for _, _, word in tokens[i:j]]
            for number, term in enumerate(terms):
                if here == [word.lower() for word in term]:
                    found.append((tokens[i][0], tokens[j - 1][1], number))
                    break
    kept: list[tuple[int, int, int]] = []
    for start, stop, number in sorted(found, key=lambda place: (place[0] - place[1], place[0])):
        if all(stop <= other[0] or other[1] <= start for other in kept):
            kept.append((start, stop, number))
    return sorted(kept)


@given(
    st.lists(WORDS, min_size=1, max_size=6), st.lists(st.sampled_from(["a", "B ", "ab ", "-", "\u00e9\n", "1 ", " "]))
)
def test_a_tree_finds_what_a_search_of_every_stretch_finds(terms, pieces):
    text = "".join(pieces)
    matcher = Matcher([Term(" ".join(words)) for words in terms], "ignore")
    assert [tuple(match) for match in matcher.find(text)] == slowly(text, terms)


def test_terms_are_suggestions_for_an_annotation_tool(make_list, tmp_path, capsys):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("A man with ataxia took 5 mg of aspirin.")
    path = make_list("ataxia\tDisease\naspirin\tDrug\n/\\d+ mg/\tDose\n")
    tasks = tmp_path / "tasks.json"
    given = ["processors=tokens,terms", f"processors.terms.path={path}", "writer=label_studio"]
    assert data_main(["convert", str(texts), str(tasks), *given]) == 0
    (task,) = json.loads(tasks.read_text())
    results = [(r["value"]["text"], r["value"]["labels"]) for r in task["predictions"][0]["result"]]
    assert results == [("ataxia", ["Disease"]), ("5 mg", ["Dose"]), ("aspirin", ["Drug"])]
    assert data_main(["convert", str(texts), str(tmp_path / "b.json"), given[0], "processors.terms.path=no.txt"]) == 3
    assert "no.txt: cannot" in capsys.readouterr().err


def test_a_recipe_finds_its_list_beside_it_and_takes_it_along(make_list, tmp_path):
    make_list("ataxia\tDisease\n")
    (tmp_path / "recipe.yaml").write_text("stages:\n- processor: tokens\n- {processor: terms, path: terms.txt}\n")
    recipe = Recipe.from_yaml(tmp_path / "recipe.yaml")
    recipe.save(tmp_path / "published")
    (tmp_path / "terms.txt").unlink()
    (document,) = Recipe.from_yaml(tmp_path / "published").run([Document("No ataxia.")])
    assert [(entity.text, entity.metadata.label) for entity in document.terms] == [("ataxia", "Disease")]


def test_scores_of_a_list_are_those_of_any_file(make_list, tmp_path, capsys):
    """A baseline for a model that is trained on the same labels."""
    from papermage_core.cli.evaluate import main as evaluate_main

    gold = tmp_path / "gold.jsonl"
    document = Document.from_text("ataxia and gout, gout.", layers={"Disease": [(0, 6), (11, 15), (17, 21)]})
    (document,) = processed([document], "tokens")
    gold.write_bytes(document.to_bytes() + b"\n")
    config = TermsConfig(path=make_list("gout\nand\n"), label="Disease", layer_name="predictions")
    found = tmp_path / "found.jsonl"
    (document,) = processed(read_documents(gold), [config])
    found.write_bytes(document.to_bytes() + b"\n")
    assert evaluate_main([f"model_name_or_path={found}", f"data_path={gold}", "label_field=Disease", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["micro"]["precision"], scores["micro"]["recall"]) == pytest.approx((2 / 3, 2 / 3))
