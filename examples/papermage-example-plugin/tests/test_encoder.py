"""The encoder keeps to what papermage_core asks of an encoder."""

import numpy as np
from papermage_core.plugin import Context
from papermage_core.testing import ContextEncoderSuite

from papermage_example_plugin.encoder.plugin import ExamplePluginEncoderConfig


class TestExamplePluginEncoder(ContextEncoderSuite):
    component = "example-plugin"
    options = ({}, {"window": 4, "size": 8, "fewest": 1, "most": 5})


def context_of(*words: str) -> Context:
    return Context(words=words, space_before=np.ones(len(words), bool))


def test_frequent_words_of_the_training_data_have_vectors_and_all_others_share_one():
    seen = [context_of("of", "ataxia", "Of"), context_of("ataxia", "of", "rare"), context_of()]
    config = ExamplePluginEncoderConfig(size=4).settle(seen)
    assert config.words == ("of", "ataxia")
    assert ExamplePluginEncoderConfig(fewest=1, most=1).settle(seen).words == ("of",)
    ((window,),) = config.build().windows([context_of("ataxia", "of", "rare", "new")], stride=0)
    assert window.features["rows"].tolist() == [3, 2, 1, 1]
