"""The extension keeps to what papermage_core asks of an extension."""

import numpy as np
from papermage_core.plugin import Context, HeadOutput, UnitSpan
from papermage_core.testing import ExtensionSuite

from papermage_example_plugin.extension.plugin import papermage_adjust_predictions, papermage_evaluated


class TestExamplePluginExtension(ExtensionSuite):
    component = "example-plugin"


def test_entities_of_punctuation_are_vetoed():
    context = Context(words=["(", "ataxia"], space_before=np.array([True, False]))
    spans = [UnitSpan.of("Disease", 0, 1), UnitSpan.of("Disease", 1, 2)]
    output = HeadOutput(spans, np.array([1, 1]), np.ones(2, np.float32), ("O", "B-Disease"))
    assert papermage_adjust_predictions(context, output).spans == spans[1:]
    context = Context(words=["cystic", "fibrosis"], space_before=np.array([True, True]))
    assert papermage_adjust_predictions(context, output) is None


def test_labels_of_which_nothing_was_found_are_told(caplog):
    papermage_evaluated("val", {"per_label": {"title": {"recall": 0.0}, "author": {"recall": 0.5}}})
    assert "on val, nothing was found of title" in caplog.text
    assert "author" not in caplog.text
