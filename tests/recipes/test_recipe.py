"""Recipes: stage after stage, some documents at a time, and errors that name stage, document and page."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document, Entity, Span, read_documents
from papermage_core.cli.data import main as data_main
from papermage_core.cli.predict import main as predict_main
from papermage_core.config.recipe import StageConfig, read_recipe
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.units import Parser
from papermage_core.errors import CheckpointError, ConfigError, DataError, PluginError
from papermage_core.plugin import ContextNeeds, DocumentProcessorConfig
from papermage_core.prediction import EntityClassificationPredictor, Recipe
from papermage_core.prediction.recipe import Stage
from papermage_core.testing import write_jsonl
from tests.recipes.conftest import bare, entries, texts


def layers(document: Document) -> dict[str, Any]:
    return {name: document.get_layer(name).to_json() for name in document.layer_names}


def gold_of(document: Document, name: str) -> list[Any]:
    return [entity.spans for entity in document.get_layer(name)]


def test_each_stage_reads_what_those_before_it_made(recipe: Path) -> None:
    found = list(Recipe.from_yaml(recipe).run([bare(100), bare(101)]))
    for number, document in zip((100, 101), found, strict=True):
        gold = entries(number)
        assert texts(document, "entry") == texts(gold, "entry")
        for name in ("name", "amount"):
            assert gold_of(document, name) == gold_of(gold, name)
            assert all(0 < entity.score <= 1 and entity.label == name for entity in document.get_layer(name))


def test_it_gives_what_its_stages_give_one_after_the_other(recipe: Path, models: Path) -> None:
    """Whatever stands beside a document: the oracle is each predictor alone, one document at a time."""
    numbers = range(200, 216)
    expected = []
    first, second = (EntityClassificationPredictor.from_pretrained(models / name) for name in ("entries", "fields"))
    for number in numbers:
        document = bare(number, n_entries=1 + number % 5)
        document.annotate_layer("entry", first.predict(document))
        (fields,) = second.predict_many([document], within=True)
        for name in ("name", "amount"):
            document.annotate_layer(name, [entity for entity in fields if entity.label == name])
        expected.append(layers(document))
    found = Recipe.from_yaml(recipe).run(bare(number, n_entries=1 + number % 5) for number in numbers)
    for document, wanted in zip(found, expected, strict=True):
        got = layers(document)
        assert got.keys() == wanted.keys()
        for name in ("entry", "name", "amount"):
            assert [each["spans"] for each in got[name]] == [each["spans"] for each in wanted[name]]
            scores = [[each["metadata"]["score"] for each in of[name]] for of in (got, wanted)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@given(
    contexts=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=4),
    second=st.tuples(st.integers(0, 14), st.integers(1, 3)),
)
def test_within_contexts_every_unit_of_them_is_looked_at_and_no_other(contexts: Any, second: Any) -> None:
    """Contexts may overlap, and the first of them has a second place; the oracle goes through the characters."""
    places = [[(start, start + length)] for start, length in contexts]
    if places:
        places[0].append((second[0], sum(second)))
    document = Document("x" * 20)
    document.annotate_layer("tokens", [Entity(spans=[Span(i, i + 1)]) for i in range(16)])
    document.annotate_layer("c", [Entity(spans=[Span(*each) for each in entity]) for entity in places])
    inside = {i for entity in places for start, stop in entity for i in range(start, stop) if i < 16}
    for within in (True, False):
        parser = Parser(Labelling(context_name="c"), ContextNeeds(), Issues(), within=within)
        parsed = parser.parse(document, "d")
        assert sorted(unit for of in parsed.units for unit in of.tolist()) == sorted(inside if within else range(16))
        assert [len(context) for context in parsed.contexts] == [len(of) for of in parsed.units]


def test_fields_are_found_in_entries_only(recipe: Path) -> None:
    (document,) = Recipe.from_yaml(recipe).run([bare(300)])
    assert all(entity.intersect_by_span("entry") for entity in document.get_layer("name"))
    empty = bare(301)
    empty.annotate_layer("entry", [])
    (document,) = Recipe.from_yaml(recipe).run([empty])
    assert (len(document.get_layer("entry")), len(document.get_layer("name"))) == (0, 0)
    with pytest.raises(ValueError, match="whole entities"):
        next(Recipe.from_yaml(recipe).stages[1].predictor.predict_many([document], merge=False, within=True))


def test_texts_may_be_given_where_the_recipe_makes_tokens(models: Path) -> None:
    path = models / "text.yaml"
    path.write_text(
        "processors: tokens\nprocessors.tokens.style: words\nstages:\n- predictor: entries\n- predictor: fields\n"
    )
    (document,) = Recipe.from_yaml(path).run(["some old [ Arvo of 12 ] under"])
    assert document.layer_names == ["tokens", "entry", "name", "amount"]
    assert texts(document, "name") == ["Arvo"]


def test_layers_that_are_there_are_kept_or_replaced_or_an_error(recipe: Path) -> None:
    ready = Recipe.from_yaml(recipe)
    gold = entries(400)
    gold.remove_layer("name")
    gold.remove_layer("amount")
    (document,) = ready.run([gold])
    assert all("score" not in entity.metadata for entity in document.get_layer("entry"))
    told = [stage.predictor.issues.counts.get("layers_kept", 0) for stage in ready.stages]
    assert told == [1, 0], "what is not predicted is said, lest it is taken for a prediction"
    (document,) = ready.run([document], overwrite=True)
    assert ready.stages[0].predictor.issues.counts["layers_kept"] == 1
    assert all("score" in entity.metadata for entity in document.get_layer("entry"))
    document.remove_layer("amount")
    with pytest.raises(
        DataError, match=r"document 'doc-400', stage 'fields': there is a layer 'name' already.*overwrite"
    ):
        list(ready.run([document]))


def test_few_documents_are_held_and_they_come_as_they_are_done(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papermage_core.prediction.recipe._DOCUMENTS", 8)
    alive: weakref.WeakSet[Document] = weakref.WeakSet()
    most = given = 0

    def documents() -> Iterator[Document]:
        nonlocal most, given
        for number in range(30):
            document = bare(number, n_entries=1, n_pages=1)
            alive.add(document)
            given += 1
            yield document
            del document
            if number in (19, 29):
                gc.collect()
            most = max(most, len(alive))

    for done, document in enumerate(Recipe.from_yaml(recipe).run(documents()), 1):
        assert given - done <= 8
        del document
    assert most <= 20


# Errors --------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class BrokenConfig(DocumentProcessorConfig):
    """A processor that fails at a word."""

    word: str

    @property
    def makes(self) -> tuple[str, ...]:
        return ("broken",)

    def build(self) -> Any:
        return self

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            if self.word in str(document.symbols):
                raise RuntimeError("boom")
            document.annotate_layer("broken", [])
            yield document


def broken(recipe: Path, word: str, at: int = 1) -> Recipe:
    """Return the recipe with a stage in it that fails at documents with a word."""
    ready = Recipe.from_yaml(recipe)
    config = StageConfig(name="odd", source="test", processor=("broken", BrokenConfig(word=word)))
    stages = list(ready.stages)
    stages.insert(at, Stage(config=config, reads=(), makes=("broken",)))
    return Recipe(ready.config, stages)


def until_error(documents: Iterable[Document]) -> tuple[list[str | None], DataError | None]:
    """Return the ids of the documents before an error is raised, and the error."""
    found = []
    try:
        for document in documents:
            found.append(document.id)
    except DataError as error:
        return found, error
    return found, None


def documents_with(word: str) -> list[Document]:
    made = [bare(number) for number in range(500, 505)]
    text = str(made[3].symbols)
    place = text.index("[", text.index("\n"))
    made[3] = Document.from_text(
        text[:place] + word + text[place + 1 :], "the odd one", {n: spans_of(made[3], n) for n in ("pages", "tokens")}
    )
    return made


def spans_of(document: Document, name: str) -> list[tuple[int, int]]:
    return [(span.start, span.end) for entity in document.get_layer(name) for span in entity.spans]


def test_a_stage_that_fails_at_a_document_leaves_the_others(recipe: Path) -> None:
    ready, errors = broken(recipe, "§"), list[DataError]()
    found = list(ready.run(documents_with("§"), errors.append))
    assert [document.id for document in found] == ["doc-500", "doc-501", "doc-502", "doc-504"]
    assert all(document.has_layer("amount") for document in found)
    (error,) = errors
    assert (error.stage, error.document, error.page) == ("odd", "the odd one", 1)
    assert str(error) == "document 'the odd one', page 2, stage 'odd': (stage 2 of 3) RuntimeError: boom"
    assert isinstance(error.__cause__, RuntimeError)
    before, raised = until_error(ready.run(documents_with("§")))
    assert "page 2, stage 'odd'" in str(raised)
    assert before == ["doc-500", "doc-501", "doc-502"], "those before it come out"


def test_what_reading_raises_comes_after_the_documents_before_it(recipe: Path) -> None:
    def reading() -> Iterator[Document]:
        yield bare(1)
        yield bare(2)
        raise DataError("half of it", path="a.file")

    found, raised = until_error(Recipe.from_yaml(recipe).run(reading()))
    assert (found, str(raised)) == (["doc-1", "doc-2"], "a.file: half of it")


def test_with_keep_the_stages_that_can_go_on_do(recipe: Path) -> None:
    errors: list[DataError] = []
    found = list(broken(recipe, "§").run(documents_with("§"), errors.append, keep=True))
    assert len(found) == 5
    assert len(errors) == 1
    assert found[3].layer_names == ["pages", "tokens", "entry", "name", "amount"]
    lacking = [bare(600), bare(601)]
    lacking[0].remove_layer("tokens")
    errors.clear()
    found = list(Recipe.from_yaml(recipe).run(lacking, errors.append, keep=True))
    assert found[0].layer_names == ["pages"]
    assert [error.stage for error in errors] == ["entries"], "what follows from it is not told again"
    assert found[1].has_layer("amount")


def test_a_predictor_that_fails_names_the_page(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Recipe.from_yaml(recipe)
    predict = EntityClassificationPredictor.predict_many

    def failing(self: Any, docs: Any, *arguments: Any, **options: Any) -> Any:
        given = list(docs)
        if self.labels == ("name", "amount") and any("§" in str(each.symbols) for each in given):
            raise ZeroDivisionError("no windows")
        return predict(self, given, *arguments, **options)

    monkeypatch.setattr(EntityClassificationPredictor, "predict_many", failing)
    errors: list[DataError] = []
    found = list(ready.run(documents_with("§"), errors.append))
    assert len(found) == 4
    assert (
        str(errors[0]) == "document 'the odd one', page 2, stage 'fields': (stage 2 of 2) ZeroDivisionError: no windows"
    )


def test_a_missing_layer_says_who_would_make_it(recipe: Path) -> None:
    document = bare(700)
    document.remove_layer("tokens")
    with pytest.raises(
        DataError, match=r"stage 'entries': there is no layer 'tokens', which it reads. .*; the processor tokens makes"
    ):
        list(Recipe.from_yaml(recipe).run([document]))


def test_what_is_no_document_is_refused(recipe: Path) -> None:
    ready = Recipe.from_yaml(recipe)
    with pytest.raises(TypeError, match="put it in a list"):
        ready.run(bare(1)).__next__()
    with pytest.raises(TypeError, match="read_documents reads files"):
        list(ready.run([Path("a.pdf")]))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="no option 'devise'"):
        Recipe.from_yaml(recipe, devise="cpu")


# Files of recipes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a recipe, with 'stages:'"),
        ("stages:", "stages .*expected a list"),
        ("stages: []", "expected at least one stage"),
        ("stages: tokens", "expected a list"),
        ("stages: {predictor: entries}", "expected a recipe, with 'stages:'"),
        ("stages:\n- 3.5:\n", "expected the name of a processor, or one of processor, predictor and recipe"),
        ("stages:\n- [tokens]\n", "stage 1: expected the name of a processor"),
        ("stages:\n- predicter: entries\n", "Did you mean 'predictor'"),
        ("stages:\n- {predictor: entries, processor: tokens}\n", "got processor, predictor"),
        ("stages:\n- {predictor: entries, min_scor: 0.5}\n", r"stage 1.min_scor \(.*yaml:1\): .*no such option"),
        ("stages:\n- {predictor: entries, min_score: 2}\n", r"stage 1.min_score='2' \(.*yaml:1\): .*at most 1"),
        ("stages:\n- {predictor: entries, min_score: {entri: 0.5}}\n", "no label of this model. Did you mean 'entry'"),
        ("stages:\n- {predictor: entries, min_score: {entry: 2}}\n", r"at least 0 and at most 1, one for each name, "),
        ("stages:\n- {processor: tokens, style: x}\n", r"stage 1.style='x' \(.*yaml:1\): expected 'words'"),
        ("stages:\n- predictor: gone\n- predictor: g/too\n", "=gone: no such folder(.|\n)*predictor=g/too"),
        ("stages:\n- predictor: two.yaml\n", "this is no folder"),
        ("stages:\n- predictor: entries\n- predictor: entries\n", "2 stages are called 'entries'"),
        ("stages:\n- predictor: fields\n- predictor: entries\n", "'fields' reads 'entry'.*'entries', which comes"),
        ("stages:\n- predictor: entries\n- {predictor: entries, name: b}\n", "both make the layer 'entry'"),
        ("stages:\n- {predictor: entries, layer_name: tokens}\n", "makes the layer 'tokens', which it reads"),
        ("stages:\n- {predictor: entries, layer_name: symbols}\n", "a layer cannot be called 'symbols'"),
        ("stages:\n- {predictor: entries, labels: entri}\n", "no label 'entri'. Did you mean 'entry'"),
        ("stages:\n- {processor: tokens, stile: words}\n", "no such option"),
        ("stages:\n- tokens\nrecords: a\nreeder: pdf\n", "Did you mean 'reader'"),
        ("stages:\n- tokens\nrecords: a(b\n", r"odd\.yaml:3: records=a\(b: expected '\)'"),
        ("stages: &a\n- *a\n", "contains itself"),
        ("stages:\n- recipe: odd.yaml\n", "contains itself: odd.yaml → odd.yaml"),
        ("stages:\n- recipe: other.yaml\n", "contains itself: odd.yaml → other.yaml → odd.yaml"),
        ("stages:\n- {recipe: two.yaml, name: x, within: no}\n", "it has no options; got within"),
        ("stages: [tokens\n", "not well-formed YAML"),
        ("stages:\n- tokens\nstages:\n- rows\n", "given twice"),
        ("- tokens\n", "expected 'key: value' lines"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_recipe_is_said(text: str, expected: str, recipe: Path) -> None:
    path = recipe.with_name("odd.yaml")
    path.write_text(text)
    recipe.with_name("other.yaml").write_text("stages:\n- recipe: odd.yaml\n")
    with pytest.raises(ConfigError, match=expected):
        Recipe.from_yaml(path)


def test_components_and_folders_that_are_missing_are_named(recipe: Path, tmp_path: Path) -> None:
    path = recipe.with_name("odd.yaml")
    path.write_text("stages:\n- tokens\n- nosuch\n")
    with pytest.raises(PluginError, match="nosuch"):
        Recipe.from_yaml(path)
    (recipe.parent / "empty").mkdir(exist_ok=True)
    path.write_text("stages:\n- predictor: empty\n")
    with pytest.raises(CheckpointError, match=r"odd.yaml:\d: stage 'empty': "):
        Recipe.from_yaml(path)
    with pytest.raises(ConfigError, match="no such file or folder"):
        Recipe.from_yaml(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="this folder is no recipe"):
        Recipe.from_yaml(tmp_path)


def test_paths_are_those_beside_the_recipe(
    recipe: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(models, moved)
    monkeypatch.chdir(tmp_path)
    (document,) = Recipe.from_yaml(moved / "two.yaml").run([bare(1)])
    assert document.has_layer("amount")
    shutil.copy(recipe, tmp_path / "alone.yaml")
    with pytest.raises(ConfigError, match=f"looked for beside the recipe: {tmp_path}/entries"):
        Recipe.from_yaml("alone.yaml")


def test_a_least_score_of_a_label_is_that_of_the_stage_that_finds_it(recipe: Path) -> None:
    """The oracle leaves out what the recipe gives without it."""
    documents = [bare(number) for number in range(300, 306)]
    (*everything,) = Recipe.from_yaml(recipe).run(map(Document.from_json, [each.to_json() for each in documents]))
    scores = sorted(entity.score for document in everything for entity in document.get_layer("name"))
    least = scores[len(scores) // 2]
    chosen = Recipe.from_yaml(recipe, min_score={"name": least})
    assert [stage.config.options.min_score for stage in chosen.stages if stage.is_predictor] == [{}, {"name": least}]
    for found, whole in zip(chosen.run(documents), everything, strict=True):
        assert texts(found, "name") == [e.text for e in whole.get_layer("name") if e.score >= least]
        assert texts(found, "amount") == texts(whole, "amount")
    with pytest.raises(ConfigError, match=r"min_score: 'nam' is no label of this model\. Did you mean 'name'"):
        Recipe.from_yaml(recipe, min_score={"nam": 0.5})


def test_recipes_may_contain_recipes(recipe: Path) -> None:
    path = recipe.with_name("outer.yaml")
    path.write_text("stages:\n- {processor: tokens, name: cut}\n- recipe: two.yaml\n")
    assert [stage.name for stage in Recipe.from_yaml(path).stages] == ["cut", "entries", "fields"]


def test_a_recipe_is_published_as_one_folder(recipe: Path, models: Path, tmp_path: Path) -> None:
    path = recipe.with_name("long.yaml")
    inner = "{processor: predictor, name: again, model_name_or_path: entries, layer_name: again}"
    path.write_text(
        f"reader: jsonl\nrecords: entry(name)\nstages:\n- {{processor: tokens, style: words}}\n- {inner}\n"
        "- predictor: entries\n- {predictor: fields, min_score: {name: 0.25}}\n"
    )
    ready = Recipe.from_yaml(path)
    folder = ready.save(tmp_path / "published")
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    again = Recipe.from_yaml(moved)
    assert [stage.name for stage in again.stages] == ["tokens", "again", "entries", "fields"]
    assert again.stages[3].config.options.min_score == {"name": 0.25}
    assert again.stages[0].config.processor == ready.stages[0].config.processor
    assert (again.config.records, again.config.reader.name) == ("entry(name)", "jsonl")
    assert str(models) not in (moved / "recipe.yaml").read_text()
    (one,), (other,) = (each.run([bare(5)]) for each in (ready, again))
    assert layers(one) == layers(other)
    for stage in again.stages:
        assert stage.config.predictor is None or moved in stage.config.predictor.parents
    with pytest.raises(ConfigError, match=r"lies in|inputs"):
        ready.save(models / "entries" / "inside")
    with pytest.raises((DataError, ConfigError), match=r"already|would be lost"):
        ready.save(moved)


# Commands ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    return write_jsonl([bare(number) for number in range(800, 806)], tmp_path / "papers.jsonl")


def test_documents_and_records_are_written(recipe: Path, papers: Path, tmp_path: Path) -> None:
    common = [f"recipe={recipe}", f"data_path={papers}"]
    assert predict_main([*common, f"output_path={tmp_path / 'found.jsonl'}", "-q"]) == 0
    found = list(read_documents(tmp_path / "found.jsonl"))
    assert [len(each.get_layer("entry")) for each in found] == [8] * 6
    assert predict_main([*common, f"output_path={tmp_path / 'records.jsonl'}", "records=entry(name,amount)", "-q"]) == 0
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert len(records) == 48
    for document, number in ((document, number) for document in found for number in range(8)):
        record = records.pop(0)
        assert record["document"] == document.id
        assert [each["text"] for each in record["fields"]["name"]] == [texts(document, "name")[number]]
    assert predict_main([*common, f"output_path={tmp_path / 'found.csv'}", "writer=records_csv", "-q"]) == 0
    assert (
        (tmp_path / "found.csv")
        .read_text()
        .startswith("document,number,text,score,place,name,name.score,name.place,amount")
    )
    assert predict_main([*common, "shard=2/3", f"output_path={tmp_path / 'part.jsonl'}", "-q"]) == 0
    assert [each.id for each in read_documents(tmp_path / "part.jsonl")] == ["doc-801", "doc-804"]


def test_options_that_a_recipe_has_for_each_stage_are_refused(
    recipe: Path, papers: Path, tmp_path: Path, capsys: Any
) -> None:
    common = [f"recipe={recipe}", f"data_path={papers}"]
    for words, expected in (
        ([*common, "layer_name=x"], "layer_name: the recipe says it for each stage"),
        ([*common, "model_name_or_path=x"], "both given"),
        ([f"data_path={papers}"], "model_name_or_path is missing"),
        ([f"data_path={papers}", "model_name_or_path="], "model_name_or_path is empty; type the checkpoint folder"),
        ([*common, "records=a(", f"output_path={tmp_path / 'a.bib'}"], "records=a(: expected"),
        ([*common, "records=a", f"output_path={tmp_path / 'a.ann'}"], "no writer is known that writes records"),
        ([*common, "records=a", "writer=brat", f"output_path={tmp_path / 'a.ann'}"], "writer=brat writes no records"),
        ([*common, f"output_path={papers}", "overwrite=true"], "one of the inputs"),
        ([*common, f"output_path={recipe}", "overwrite=true", "writer=jsonl"], "one of the inputs"),
        ([f"model_name_or_path={recipe.parent / 'entries'}", f"data_path={papers}", "on_error=keep"], "on_error=keep"),
    ):
        assert predict_main(words) == 2, words
        assert expected in capsys.readouterr().err


def test_one_broken_document_is_named_and_the_others_are_written(
    recipe: Path, papers: Path, tmp_path: Path, capsys: Any
) -> None:
    lines = papers.read_bytes().splitlines(keepends=True)
    lacking = json.loads(lines[2])
    del lacking["entities"]["tokens"]
    papers.write_bytes(b"".join([*lines[:2], json.dumps(lacking).encode() + b"\n", *lines[3:]]))
    common = [f"recipe={recipe}", f"data_path={papers}", f"output_path={tmp_path / 'found.jsonl'}"]
    assert predict_main(common) == 3
    assert (
        f"{papers}, line 3, document 'doc-802', stage 'entries': there is no layer 'tokens'" in capsys.readouterr().err
    )
    assert not (tmp_path / "found.jsonl").exists()
    with papers.open("ab") as file:
        file.write(b"{not json\n")
    assert predict_main([*common, "on_error=skip"]) == 0
    assert [each.id for each in read_documents(tmp_path / "found.jsonl")] == [
        "doc-800",
        "doc-801",
        "doc-803",
        "doc-804",
        "doc-805",
    ]
    assert predict_main([*common, "on_error=keep", "overwrite=true"]) == 0
    assert [each.has_layer("entry") for each in read_documents(tmp_path / "found.jsonl")] == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]


def test_check_tells_what_records_name_that_nothing_makes(recipe: Path, papers: Path, capsys: Any) -> None:
    plain = recipe.read_text(encoding="utf-8").partition("records:")[0]
    recipe.write_text(f"{plain}\nrecords: entry(name,x=amuont,token=tokens)\n", encoding="utf-8")
    told = "records: nothing can be written of 'amuont': no stage makes a layer or label of this name, and"
    hint = " Did you mean 'amount'?"
    assert data_main(["check", f"recipe={recipe}"]) == 0
    assert f"{told} no documents were given that may have one.{hint}" in capsys.readouterr().out
    assert data_main(["check", f"recipe={recipe}", str(papers)]) == 0
    assert f"{told} no document has one.{hint}" in capsys.readouterr().out
    recipe.write_text(f"{plain}\nrecords: entry(name,amount,other=pages)\n", encoding="utf-8")  # documents have pages
    assert data_main(["check", f"recipe={recipe}", str(papers)]) == 0
    assert "records" not in capsys.readouterr().out


def test_check_says_before_running_what_is_missing_where(recipe: Path, papers: Path, capsys: Any) -> None:
    assert data_main(["check", f"recipe={recipe}"]) == 0
    out = capsys.readouterr().out
    assert " 1 entries  reads tokens; makes entry" in out
    assert " 2 fields   reads tokens, entry; makes name, amount" in out
    assert "documents must have: tokens" in out
    assert data_main(["check", str(papers), f"recipe={recipe}"]) == 0
    lines = papers.read_bytes().splitlines(keepends=True)
    lacking, kept = (json.loads(line) for line in lines[2:4])
    del lacking["entities"]["tokens"]
    kept["entities"]["entry"] = []
    papers.write_bytes(b"".join([*lines[:2], *(json.dumps(each).encode() + b"\n" for each in (lacking, kept)), b"{\n"]))
    assert data_main(["check", str(papers), f"recipe={recipe}", "--json"]) == 3
    found = json.loads(capsys.readouterr().out.partition("documents read, 0 errors\n")[2])
    assert found["documents"] == 4
    assert [(each["stage"], each["line"]) for each in found["errors"]] == [("entries", 3), (None, 5)]
    assert found["counts"]["kept"] == {"entries": 1}
    assert data_main(["check", f"recipe={recipe}", "label_field=x"]) == 2
    assert data_main(["check"]) == 2


def test_publish_writes_a_folder_that_runs(recipe: Path, papers: Path, tmp_path: Path, capsys: Any) -> None:
    assert data_main(["publish", str(recipe), str(tmp_path / "published")]) == 0
    assert "2 stages" in capsys.readouterr().out
    assert (
        predict_main(
            [f"recipe={tmp_path / 'published'}", f"data_path={papers}", f"output_path={tmp_path / 'a.jsonl'}", "-q"]
        )
        == 0
    )
    assert data_main(["publish", str(recipe), str(tmp_path / "published")]) in (2, 3)
    assert data_main(["publish", f"recipe={recipe}"]) == 2


def test_components_that_are_missing_are_told_with_all_else(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("stages:\n- processr: tokens\n- processor: nope\nreader: nothing\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    for told in ("processr", f"{path}: processors=nope: unknown", f"{path}: reader=nothing: unknown"):
        assert told in str(caught.value)
    path.write_text("stages:\n- processor: nope\nreader: nothing\n")
    with pytest.raises(PluginError, match=r"recipe.yaml: processors=nope: [^\n]*\n.*recipe.yaml: reader=nothing"):
        read_recipe(path)
