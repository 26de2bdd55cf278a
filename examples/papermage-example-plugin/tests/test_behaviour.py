"""What the suites cannot know: what the parts are for."""

import io

import numpy as np
import pytest
import torch
from papermage_core import Document
from papermage_core.errors import PapermageError
from papermage_core.plugin import Context, HeadOutput, UnitSpan
from papermage_core.testing import make_document

from papermage_example.brackets import BracketsConfig
from papermage_example.formulas import FormulasConfig
from papermage_example.letters import LettersConfig
from papermage_example.letters_encoder import spell
from papermage_example.tidy import papermage_adjust_predictions, papermage_evaluated
from papermage_example.tidy_callback import StopAtNan
from papermage_example.vocabulary import VocabularyConfig


def context_of(*words):
    return Context(words=words, space_before=np.ones(len(words), bool))


def test_long_words_are_spelled_by_both_ends():
    assert spell(["abcdef"], 4).tolist() == spell(["abef"], 4).tolist()


def test_units_further_away_than_the_width_are_not_seen():
    encoder = LettersConfig(width=1, size=8).build().eval()

    def middle(*words):
        (windows,) = encoder.windows([context_of(*words)], stride=0)
        with torch.no_grad():
            return encoder(encoder.collate(windows))[0, 2]

    assert torch.equal(middle("a", "b", "c", "d", "e"), middle("x", "b", "c", "d", "x"))
    assert not torch.equal(middle("a", "b", "c", "d", "e"), middle("a", "x", "c", "d", "e"))


def test_entities_stand_in_brackets_and_what_does_not_is_counted():
    file = io.BytesIO()
    document = make_document("Ataxia is not cystic fibrosis.", {"A": ["Ataxia"], "B": ["cystic fibrosis", "fibrosis"]})
    losses = BracketsConfig(layers=("A", "B")).build().write([document], file)
    assert file.getvalue().decode() == "[A Ataxia] is not [B cystic fibrosis].\n\n"
    assert losses == {"layers": 3, "overlapping entities": 1}


def test_the_words_of_the_training_data_have_vectors_and_all_others_share_one():
    seen = [context_of("of", "ataxia", "of"), context_of("ataxia", "of", "rare"), context_of()]
    config = VocabularyConfig(size=4).settle(seen)
    assert config.words == ("of", "ataxia")
    assert VocabularyConfig(fewest=1, most=1).settle(seen).words == ("of",)
    encoder = config.build()
    ((window,),) = encoder.windows([context_of("ataxia", "of", "rare", "new")], stride=0)
    assert window.features["rows"].tolist() == [3, 2, 1, 1]


def test_entities_without_a_letter_are_vetoed():
    spans = [UnitSpan.of("Disease", 0, 1), UnitSpan.of("Disease", 1, 3)]
    output = HeadOutput(spans, np.array([1, 1, 2]), np.ones(3, np.float32), ("O", "B-Disease", "I-Disease"))
    assert papermage_adjust_predictions(context_of("(1)", "–", "ataxia"), output).spans == spans[1:]
    assert papermage_adjust_predictions(context_of("a", "b", "c"), output) is None


def test_a_loss_that_is_no_number_stops_the_run():
    StopAtNan().on_train_batch_end(None, None, {"loss": torch.tensor(1.0)}, None, 0)
    with pytest.raises(PapermageError, match="batch 3"):
        StopAtNan().on_train_batch_end(None, None, {"loss": torch.tensor(float("nan"))}, None, 3)


def test_labels_of_which_nothing_was_found_are_told(caplog):
    papermage_evaluated("val", {"per_label": {"title": {"recall": 0.0}, "author": {"recall": 0.5}}})
    assert "on val, nothing was found of title" in caplog.text
    assert "author" not in caplog.text


def test_formulas_are_letters_of_elements_with_numbers():
    (document,) = FormulasConfig().build().process([Document("CO2 and C6H12O6 in 2 of NASA's 10 mL; HeLa.")])
    assert [entity.text for entity in document.get_layer("formulas")] == ["CO2", "C6H12O6"]
