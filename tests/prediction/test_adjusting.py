"""What extensions change of entities shows everywhere: in tags of units, in scores, over whole documents."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papermage_core.cli.evaluate import main as evaluate
from papermage_core.cli.predict import main as predict
from papermage_core.cli.train import main as train
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.document import Document
from papermage_core.errors import ConfigError, PluginError
from papermage_core.model.adjusting import with_tags_of_spans
from papermage_core.plugin import Context, HeadOutput, UnitSpan
from papermage_core.plugin.manager import Plugins
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import make_documents, unit_spans, write_jsonl

VETO = """
import attrs
from papermage_core.plugin import ExtensionConfig, hookimpl, option

class Veto:
    def __init__(self, threshold, label):
        self.threshold, self.label = threshold, label

    @hookimpl
    def papermage_adjust_predictions(self, context, output):
        return attrs.evolve(output, spans=[span for span in output.spans if span.score >= self.threshold])

@attrs.frozen(kw_only=True)
class Config(ExtensionConfig):
    threshold: float = option(2.0, help="score below which an entity is left out", ge=0)
    label: str = option("", help="not used")

    def build(self):
        return Veto(self.threshold, self.label)

@hookimpl
def papermage_extension():
    return Config
"""


def scheme(name: str = "bio", labels=("X", "Y")):
    return Plugins().config_class("label_scheme", name)().build(labels)


def output(spans, n: int, name: str = "bio") -> HeadOutput:
    made = scheme(name)
    if made.targets == "tags":
        tags = made.encode([UnitSpan(span.label, span.segments) for span in spans], n)
        return HeadOutput(list(spans), tags, np.full(n, 0.75, np.float32), made.tags)
    tags = np.zeros(n, np.int64)
    for span in spans:
        tags[list(span.units)] = 1 + made.labels.index(span.label)
    return HeadOutput(list(spans), tags, np.full(n, 0.75, np.float32), ("O", *made.labels))


def names(found: HeadOutput) -> list[str]:
    return [found.tag_names[tag] for tag in found.tags]


def test_the_units_of_a_vetoed_entity_are_outside_with_what_is_left_of_the_score():
    before = output([UnitSpan.of("X", 0, 2, 0.7), UnitSpan.of("Y", 3, 4, 0.9)], 5)
    after = with_tags_of_spans(before, attrs.evolve(before, spans=before.spans[1:]), scheme())
    assert names(after) == ["O", "O", "O", "B-Y", "O"]
    assert after.scores.tolist() == [0.25, 0.25, 0.75, 0.75, 0.75]
    assert names(before) == ["B-X", "I-X", "O", "B-Y", "O"]


def test_an_entity_that_was_added_gives_its_units_label_and_score():
    before = output([UnitSpan.of("X", 0, 1, 0.7)], 4)
    after = with_tags_of_spans(
        before, attrs.evolve(before, spans=[*before.spans, UnitSpan.of("Y", 2, 4, 0.6)]), scheme()
    )
    assert names(after) == ["B-X", "O", "B-Y", "I-Y"]
    assert np.allclose(after.scores, [0.75, 0.75, 0.6, 0.6])


def test_of_entities_that_overlap_units_show_the_surest_and_labels_of_no_head_show_nowhere():
    before = output([], 4)
    spans = [UnitSpan.of("X", 0, 3, 0.5), UnitSpan.of("Y", 1, 2, 0.9), UnitSpan.of("Z", 3, 4, 1.0)]
    assert names(with_tags_of_spans(before, attrs.evolve(before, spans=spans), scheme())) == ["O", "B-Y", "O", "O"]
    before = output([], 4, "span")
    after = with_tags_of_spans(before, attrs.evolve(before, spans=spans), scheme("span"))
    assert names(after) == ["X", "Y", "X", "O"]


def test_a_discontinuous_entity_is_tagged_segment_by_segment():
    before = output([], 5)
    after = with_tags_of_spans(before, attrs.evolve(before, spans=[UnitSpan("X", ((0, 1), (3, 5)))]), scheme())
    assert names(after) == ["B-X", "O", "O", "B-X", "I-X"]


def test_tags_that_the_extension_changed_itself_and_spans_that_it_left_stay():
    before = output([UnitSpan.of("X", 0, 1, 0.7)], 2)
    own = attrs.evolve(before, spans=[], tags=np.array([0, 1]))
    assert with_tags_of_spans(before, own, scheme()) is own
    same = attrs.evolve(before, spans=list(before.spans))
    assert with_tags_of_spans(before, same, scheme()) is same


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.data(), st.sampled_from(["bio", "io", "bioes", "span"]))
def test_tags_say_what_the_entities_say(data, name):
    """Whatever was there before: the tags are those of a head that had found the new entities."""
    first, second = (data.draw(unit_spans(("X", "Y"), 6)) for _ in range(2))
    before = output(first, 6, name)
    after = with_tags_of_spans(before, attrs.evolve(before, spans=second), scheme(name))
    assert names(after) == names(output(second, 6, name))
    assert ((after.scores >= 0) & (after.scores <= 1)).all()


# Runs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with a model that finds entities, and the file of a veto."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "veto.py").write_text(VETO)
    data = write_jsonl(make_documents(12), folder / "train.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERMAGE_CACHE_DIR", str(folder / "cache"))
        settings = [f"default_root_dir={folder / 'run'}", "max_epochs=15", "enable_progress_bar=no", "accelerator=cpu"]
        small = ["encoder.width=16", "encoder.rows=64", "encoder.dropout=0", "encoder.word_dropout=0"]
        assert train(["-q", f"data_path={data}", "label_field=Disease", "learning_rate=0.02", *small, *settings]) == 0
    return folder


def test_a_veto_has_its_options_and_shows_in_entities_and_in_units(run):
    document = make_documents(1)[0]

    def found(**extensions):
        predictor = EntityClassificationPredictor.from_pretrained(
            run / "run", extensions=extensions, plugins_path=[run / "veto.py"]
        )
        units = predictor.predict(document, merge=False)
        return len(predictor.predict(document)), sum(unit.label != "O" for unit in units)

    everything = found()
    assert min(everything) > 0
    assert found(veto={"threshold": 0}) == everything
    assert found(veto={}) == (0, 0)


def test_commands_take_the_options_of_extensions_and_refuse_wrong_ones(run, tmp_path, capsys):
    words = [f"model_name_or_path={run / 'run'}", f"data_path={run / 'train.jsonl'}", f"plugins_path={run / 'veto.py'}"]
    counts = {}
    for threshold in ("0", "1.5"):
        out = tmp_path / f"{threshold}.jsonl"
        veto = ["extensions=veto", f"extensions.veto.threshold={threshold}"]
        assert predict(["-q", *words, f"output_path={out}", *veto]) == 0
        documents = [Document.from_json(line) for line in map(json.loads, out.read_text().splitlines())]
        counts[threshold] = sum(len(document.get_layer("predictions")) for document in documents)
        assert evaluate(["-q", *words, *veto]) == 0
    assert counts["1.5"] == 0 < counts["0"]
    capsys.readouterr()
    assert predict([*words, "output_path=-", "extensions=veto", "extensions.veto.treshold=1"]) == 2
    assert "extensions.veto.treshold (command line): 'veto' has no such option" in capsys.readouterr().err
    assert predict([*words, "output_path=-", "extensions.veto.threshold=1"]) == 2
    assert "no extension of this name is used: extensions=none" in capsys.readouterr().err


def test_an_extension_without_options_takes_none_and_a_required_one_is_asked_for(tmp_path):
    plain = tmp_path / "plain.py"
    plain.write_text("from papermage_core.plugin import hookimpl\n@hookimpl\ndef papermage_evaluated(split): ...\n")
    needs = tmp_path / "needs.py"
    needs.write_text(VETO.replace("option(2.0, ", "option("))
    assert ExtensionChoice.of(["plain"], [plain]).load().hooks() == ["papermage_evaluated"]
    with pytest.raises(ConfigError, match=r"extensions\.plain\.x .*'plain' has no such option; it has: none"):
        ExtensionChoice.of({"plain": {"x": 1}}, [plain]).load()
    with pytest.raises(ConfigError, match=r"extensions\.needs\.threshold is missing: 'needs' needs it"):
        ExtensionChoice.of(["needs"], [needs]).load()


def test_what_was_surely_found_once_is_marked_wherever_it_stands():
    """The built-in extension ``repeats``, through the hook papermage_adjust_document."""
    words = ["Cystic", "fibrosis", "is", "rare", "."], ["No", "Cystic", "fibrosis", "fibrosis", "here"]
    contexts = [Context(words=each, space_before=np.ones(5, bool)) for each in words]
    outputs = [output([UnitSpan.of("X", 0, 2, 0.95), UnitSpan.of("Y", 3, 4, 0.5)], 5), output([], 5)]
    extensions = Plugins().extensions(["repeats"])
    assert extensions.adjust()
    first, second = extensions.adjusted(None, contexts, outputs)
    assert first is outputs[0]
    assert second.spans == [UnitSpan.of("X", 1, 3)]
    assert second.spans[0].score == 0.95
    taken = [outputs[0], output([UnitSpan.of("Y", 2, 3, 0.3)], 5)]
    assert extensions.adjusted(None, contexts, taken)[1] is taken[1]


def test_a_hook_of_documents_must_return_as_many(tmp_path):
    file = tmp_path / "short.py"
    file.write_text(
        "from papermage_core.plugin import hookimpl\n@hookimpl\n"
        "def papermage_adjust_document(outputs):\n    return outputs[:-1]\n"
    )
    context = Context(words=["a"], space_before=np.ones(1, bool))
    with pytest.raises(PluginError, match=r"'short' of file .* returned 0 predictions .*expected 1"):
        Plugins([file]).extensions(["short"]).adjusted(None, [context], [output([], 1)])


@pytest.mark.parametrize("hook", ["papermage_adjust_predictions(output)", "papermage_adjust_document(outputs)"])
def test_an_extension_that_gives_labels_which_the_model_does_not_have_is_named(run, tmp_path, hook, capsys):
    """As a head that does so is: scores would be those of nothing found."""
    (tmp_path / "renames.py").write_text(
        "import attrs\nfrom papermage_core.plugin import UnitSpan, hookimpl\n"
        "def renamed(output):\n    return attrs.evolve(output, spans=[UnitSpan.of('Foo', 0, 1, 0.5)])\n"
        f"@hookimpl\ndef {hook}:\n"
        + ("    return renamed(output)\n" if "(output)" in hook else "    return [*map(renamed, outputs)]\n")
    )
    words = [f"model_name_or_path={run / 'run'}", f"plugins_path={tmp_path / 'renames.py'}", "extensions=renames"]
    assert predict(["-q", *words, f"data_path={run / 'train.jsonl'}", f"output_path={tmp_path / 'out.jsonl'}"]) == 4
    said = capsys.readouterr().err
    assert "the extension 'renames' of file" in said
    assert "expected entities of the labels Disease, got Foo" in said.replace("UnitSpan(label='Foo'", "Foo")
    assert evaluate(["-q", *words, f"data_path={run / 'train.jsonl'}"]) == 4
    assert not (tmp_path / "out.jsonl").exists()
