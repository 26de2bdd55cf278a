"""Processors in a row: places are kept, errors have them, and the config says which there are."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import attrs
import pytest

from papermage_core import Document, Entity, Metadata, Span
from papermage_core.cli.data import main
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.train import EntityClassificationTrainConfig
from papermage_core.data import processed, read_documents
from papermage_core.errors import ConfigError, DataError, PluginError
from papermage_core.plugin import DocumentProcessorConfig, LocatedDocument


def located(count: int) -> list[LocatedDocument]:
    documents = [Document(f"Text {n}. It ends.", metadata=Metadata(doc_id=str(n))) for n in range(count)]
    return [LocatedDocument(document, Path("a.file"), n + 1) for n, document in enumerate(documents)]


def config_of(process) -> DocumentProcessorConfig:
    @attrs.frozen(kw_only=True)
    class Config(DocumentProcessorConfig):
        makes = ("none",)

        def build(self):
            return type("Processor", (), {"process": lambda self, documents: process(documents)})()

    return Config()


def test_places_stay_with_their_documents_even_if_processors_work_on_batches():
    def by_threes(documents):
        batch = []
        for document in documents:
            batch.append(document)
            if len(batch) == 3:
                yield from batch
                batch = []
        yield from batch

    given = located(8)
    found = list(processed(iter(given), ["tokens", config_of(by_threes), "sentences"]))
    assert all(one is other for one, other in zip(found, given, strict=True))
    assert [(len(each.document.tokens), len(each.document.sentences)) for each in found] == [(6, 2)] * 8


def test_an_error_of_a_processor_has_the_place_of_its_document():
    def picky(documents):
        for document in list(documents):
            if document.id == "2":
                raise DataError("has no rows", document=document.id)
            yield document

    stream = processed(located(4), [config_of(picky)])
    assert [next(stream).line, next(stream).line] == [1, 2]
    with pytest.raises(DataError, match=r"^a\.file, line 3, document '2': has no rows$"):
        next(stream)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_a_document_that_a_processor_refuses_is_left_out_if_told_so(at_once):
    def picky(documents):
        documents = iter(documents)
        while batch := list(itertools.islice(documents, at_once)):
            for document in batch:
                if document.id in ("2", "3", "7"):
                    raise DataError("has no rows", document=document.id)
                yield document

    errors: list[DataError] = []
    given = located(8)
    found = list(processed(iter(given), ["tokens", config_of(picky)], on_error=errors.append))
    assert [each.document.id for each in found] == ["0", "1", "4", "5", "6"]
    assert all(each is given[int(each.document.id)] for each in found)
    assert [str(error) for error in errors] == [f"a.file, line {n}, document '{n - 1}': has no rows" for n in (3, 4, 8)]


@pytest.mark.parametrize(
    ("span", "message"),
    [(Span(0, 99), "at 0 to 99 to document '0', whose text has 16 characters"), (Span(-3, 1), "at -3 to 1")],
)
def test_entities_past_the_text_are_the_fault_of_the_processor(span, message):
    """Else they are written, and what is written cannot be read."""

    def beyond(documents):
        for document in documents:
            document.annotate_layer("none", [Entity(spans=[Span(0, 1)]), Entity(spans=[Span(1, 2)])])
            document.none[1].spans = [span]
            yield document

    def beyond_at_once(documents):
        for document in documents:
            document.annotate_layer("none", [Entity(spans=[span])])
            yield document

    with pytest.raises(PluginError, match=message):
        list(processed(located(1), [config_of(beyond)]))
    with pytest.raises(ValueError, match=r"layer 'none', entity 0: span .* the text"):  # no fault of the document
        list(processed(located(1), [config_of(beyond_at_once)], on_error=lambda error: None))


def test_a_text_that_was_changed_is_the_fault_of_the_processor():
    def upper(documents):
        for document in documents:
            document.symbols = document.symbols.upper()
            yield document

    with pytest.raises(PluginError, match="changed the text of document '0'"):
        list(processed(located(1), ["tokens", config_of(upper)]))


def test_the_names_of_layers_that_a_processor_makes_are_no_text():
    config = config_of(iter)
    with pytest.raises(PluginError, match=r"has makes = 'none'; expected the names of layers"):
        list(processed(located(1), [type("Config", (type(config),), {"makes": "none"})()]))


def test_an_error_of_the_reader_ends_it_all_the_same():
    def broken():
        yield from located(2)
        raise DataError("the file changed", path="a.file")

    def by_threes(documents):
        yield from list(documents)

    with pytest.raises(DataError, match="the file changed"):
        list(processed(broken(), [config_of(by_threes)], on_error=pytest.fail))


def test_check_tells_what_a_processor_refuses_and_convert_passes_it_over(tmp_path, capsys):
    source, plugin = tmp_path / "a.txt", tmp_path / "picky.py"
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"Text {name}.")
    plugin.write_text(
        "import attrs\n"
        "from papermage_core.errors import DataError\n"
        "from papermage_core.plugin import DocumentProcessorConfig, hookimpl\n"
        "@attrs.frozen(kw_only=True)\n"
        "class Config(DocumentProcessorConfig):\n"
        "    makes = ('none',)\n"
        "    def build(self): return self\n"
        "    def process(self, documents):\n"
        "        for document in documents:\n"
        "            if document.id == 'a': raise DataError('has no rows', document=document.id)\n"
        "            yield document\n"
        "@hookimpl\n"
        "def papermage_document_processor(): return Config\n"
    )
    words = [str(tmp_path / "*.txt"), "processors=tokens,picky", f"plugins_path={plugin}"]
    assert main(["check", *words]) == 3
    assert "1 document read, 1 error, 0 repairs" in capsys.readouterr().out
    assert main(["convert", *words, f"output_path={tmp_path / 'b.jsonl'}"]) == 3
    assert f"{source}, line 1, document 'a': has no rows" in capsys.readouterr().err
    assert main(["convert", *words, f"output_path={tmp_path / 'b.jsonl'}", "on_error=skip"]) == 0
    assert [each.id for each in read_documents(tmp_path / "b.jsonl")] == ["b"]


def test_an_error_of_the_reader_is_passed_on_as_it_is():
    error = DataError("broken", path="b.file", line=7)

    def documents():
        yield from located(1)
        raise error

    with pytest.raises(DataError) as raised:
        list(processed(documents(), "tokens"))
    assert str(raised.value) == str(error)


@pytest.mark.parametrize(
    "process",
    [
        lambda documents: (Document(document.symbols) for document in documents),
        lambda documents: reversed(list(documents)),
        lambda documents: (document for document in documents if document.id == "0"),
        lambda documents: (twice for document in documents for twice in (document, document)),
    ],
)
def test_a_processor_that_mixes_documents_up_is_stopped(process):
    with pytest.raises(PluginError):
        list(processed(located(3), [config_of(process)]))


def test_a_choice_is_kept_in_a_recipe_and_sent_to_other_processes():
    choice = ProcessorChoice(names=("tokens", "sentences"), options={"tokens.style": "words"})
    assert choice.recipe() == [
        {"name": "tokens", "options": {"style": "words"}},
        {"name": "sentences", "options": {}},
    ]
    for copy in (ProcessorChoice.of_recipe(choice.recipe()), pickle.loads(pickle.dumps(choice))):
        assert copy.configs == choice.configs
        (document,) = processed([Document("IL-2 rose.")], copy)
        assert [token.text for token in document.tokens] == ["IL-2", "rose", "."]


def test_errors_name_the_processor_and_what_there_is():
    for names, options, message in (
        (("tokens", "tokens"), {}, "tokens is named twice"),
        (("tokens",), {"token.style": "words"}, "processors.token: no processor of this name.* Did you mean 'tokens'"),
        (("tokens",), {"rows.x": "words"}, "To use it, type processors=tokens,rows$"),
        ((), {"style": "words"}, "name of a processor, then of its option: processors.NAME.style=words$"),
        (("tokens",), {"tokens": "words"}, r"then of its option: processors.tokens.OPTION=words$"),
        (("tokens",), {"tokens.stile": "words"}, "stile"),
        (("tokens",), {"tokens.style": "word"}, "words"),
    ):
        with pytest.raises(ConfigError, match=message):
            _ = ProcessorChoice(names=names, options=options).configs
    with pytest.raises(PluginError, match="tokens"):
        _ = ProcessorChoice(names=("tokenz",)).configs


def test_a_training_config_takes_processors_with_options_and_writes_them_down(tmp_path):
    from papermage_core.config.load import load_config

    config = EntityClassificationTrainConfig(
        data_path="a.txt", label_field="x", processors="tokens,sentences", **{"processors.tokens.style": "grobid"}
    )
    chain = config.components().processors
    assert [type(each).__name__ for each in chain.configs] == ["TokensConfig", "SentencesConfig"]
    assert chain.configs[0].style == "grobid"
    assert config.replace(processors="sentences").options == {}
    file = tmp_path / "config.yaml"
    for annotated in (False, True):
        file.write_text(config.to_yaml(annotated=annotated))
        assert load_config([file]).components().processors.configs == chain.configs
    with pytest.raises(ConfigError, match="rows"):
        config.replace(**{"processors.rows.x": 1}).components()
    assert EntityClassificationTrainConfig(data_path="a", label_field="x").components().processors.configs == ()


def test_convert_adds_layers_on_the_way(tmp_path, capsys):
    given, written = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    given.write_bytes(Document("IL-2 rose. It fell.").to_bytes())
    assert (
        main(["convert", str(given), str(written), "processors=tokens,sentences", "processors.tokens.style=words"]) == 0
    )
    (document,) = read_documents(written)
    assert [token.text for token in document.tokens] == ["IL-2", "rose", ".", "It", "fell", "."]
    assert len(document.sentences) == 2
    assert main(["convert", str(given), str(tmp_path / "c.jsonl"), "processors=tokenz"]) == 4
    assert "tokens" in capsys.readouterr().err


def test_a_corpus_is_read_through_its_processors_and_its_hash_knows_them(tmp_path):
    from papermage_core.data.source import DocumentSource

    file = tmp_path / "a.jsonl"
    file.write_bytes(Document("IL-2 rose.").to_bytes())
    chains = [ProcessorChoice(names=("tokens",), options={"tokens.style": style}) for style in ("words", "grobid")]
    sources = [DocumentSource((file,), processors=chain) for chain in chains]
    assert [[len(each.document.tokens) for each in source.documents()] for source in sources] == [[3], [5]]
    assert len({source.content for source in [*sources, DocumentSource((file,))]}) == 3
