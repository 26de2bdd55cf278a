"""Extensions add to a run, see its results, and adjust predictions, in the order in which they are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from papermage_core.errors import DataError, PluginError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import Context, HeadOutput, UnitSpan

GROUP = "papermage.extension"
ONE_OF_EACH = """
from papermage_core.plugin import hookimpl
seen = []

class Named(str):
    on_train_start = log_metrics = None

@hookimpl
def papermage_callbacks(config):
    return [Named("callback of {name} for " + config)]

@hookimpl
def papermage_loggers():
    return [Named("logger of {name}")]

@hookimpl
def papermage_evaluated(split, results):
    seen.append(("{name}", split, results["f1"]))

@hookimpl
def papermage_adjust_predictions(document, context, output):
    seen.append(("{name}", [span.label for span in output.spans]))
    return {adjusted}
"""
RELABEL = """__import__("attrs").evolve(
        output, spans=[__import__("attrs").evolve(span, label=span.label + "{name}") for span in output.spans]
    )"""


def output() -> HeadOutput:
    return HeadOutput([UnitSpan.of("X", 0, 1)], np.array([1]), np.array([0.5], np.float32), ("O", "B-X"))


def context() -> Context:
    return Context(words=["a"], space_before=np.array([True]))


def install_two(install) -> Plugins:
    first, second = (ONE_OF_EACH.replace("{adjusted}", RELABEL).replace("{name}", name) for name in "ab")
    install("acme", {GROUP: {"a": "acme_a", "b": "acme_b"}}, acme_a=first, acme_b=second)
    return Plugins()


def test_without_extensions_nothing_happens():
    extensions = Plugins().extensions([])
    assert extensions.papermage_callbacks(config=None) == []
    assert extensions.papermage_loggers(config=None) == []
    before = output()
    assert extensions.papermage_adjust_predictions(document=None, context=context(), output=before) is before


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_papermage_callbacks_and_papermage_loggers_are_put_together_in_the_order_named(install, order):
    extensions = install_two(install).extensions(order)
    assert len(extensions) == 2
    assert extensions.papermage_callbacks("run") == [f"callback of {name} for run" for name in order]
    assert extensions.papermage_loggers("run") == [f"logger of {name}" for name in order]


def test_papermage_evaluated_is_shown_to_each(install):
    plugins = install_two(install)
    plugins.extensions("ba").papermage_evaluated(split="val", results={"f1": 0.5})
    import acme_a
    import acme_b

    assert acme_a.seen == [("a", "val", 0.5)]
    assert acme_b.seen == [("b", "val", 0.5)]


def test_papermage_adjust_predictions_goes_from_one_to_the_next_in_the_order_named(install):
    extensions = install_two(install).extensions("ba")
    adjusted = extensions.papermage_adjust_predictions(document=None, context=context(), output=output())
    assert [span.label for span in adjusted.spans] == ["Xba"]


def test_an_extension_that_asks_for_decoded_is_served_and_warned(install):
    old = ONE_OF_EACH.replace("{adjusted}", RELABEL).replace("{name}", "a").replace("output", "decoded")
    install("acme", {GROUP: {"a": "acme_a"}}, acme_a=old)
    with pytest.warns(DeprecationWarning, match="'output'") as caught:
        extensions = Plugins().extensions(["a"])
    assert [Path(warning.filename).name for warning in caught] == ["acme_a.py"]
    assert [span.label for span in extensions.papermage_adjust_predictions(None, context(), output()).spans] == ["Xa"]


@pytest.mark.parametrize(("hook", "returned"), [("callbacks", "'early'"), ("callbacks", "int"), ("loggers", "3")])
def test_what_is_no_callback_or_logger_is_refused_by_name(install, hook, returned):
    source = (
        f"from papermage_core.plugin import hookimpl\n@hookimpl\ndef papermage_{hook}(config): return [{returned}]\n"
    )
    install("acme", {GROUP: {"a": "acme_a"}}, acme_a=source)
    extensions = Plugins().extensions(["a"])
    with pytest.raises(PluginError, match=f"the extension 'a' of .* returned .* from its hook 'papermage_{hook}'"):
        getattr(extensions, f"papermage_{hook}")(config=None)


@pytest.mark.parametrize("changed", ["tags=output.tags[:0]", "scores=output.scores * 40", "tags=output.tags + 9"])
def test_predictions_that_are_not_whole_are_refused_by_name(install, changed):
    adjusted = f"__import__('attrs').evolve(output, {changed})"
    source = ONE_OF_EACH.replace("{adjusted}", adjusted).replace("{name}", "a")
    install("acme", {GROUP: {"a": "acme_a"}}, acme_a=source)
    with pytest.raises(PluginError, match=r"the extension 'a' of .* returned what is no prediction"):
        Plugins().extensions(["a"]).papermage_adjust_predictions(document=None, context=context(), output=output())


def test_an_extension_that_returns_none_leaves_the_predictions(install):
    source = ONE_OF_EACH.replace("{adjusted}", "None").replace("{name}", "a")
    install("acme", {GROUP: {"a": "acme_a"}}, acme_a=source)
    before = output()
    adjusted = Plugins().extensions(["a"]).papermage_adjust_predictions(None, context(), before)
    assert adjusted is before


def test_predictions_of_the_wrong_type_are_refused_by_name(install):
    source = ONE_OF_EACH.replace("{adjusted}", "output.spans").replace("{name}", "a")
    install("acme", {GROUP: {"a": "acme_a"}}, acme_a=source)
    with pytest.raises(PluginError, match=r"extension 'a' of distribution 'acme' 1\.0 returned .*expected HeadOutput"):
        Plugins().extensions(["a"]).papermage_adjust_predictions(None, context(), output())


@pytest.mark.parametrize(
    ("body", "why"), [("return 1 / 0", "ZeroDivisionError"), ("raise SystemExit(0)", "SystemExit")]
)
def test_an_extension_that_fails_in_a_run_is_named_with_the_cause(install, body, why):
    install(
        "acme",
        {GROUP: {"a": "acme_a"}},
        acme_a=f"from papermage_core.plugin import hookimpl\n@hookimpl\ndef papermage_callbacks(): {body}\n",
    )
    with pytest.raises(PluginError, match=rf"'acme' 1\.0 failed in its hook 'papermage_callbacks': {why}"):
        Plugins().extensions(["a"]).papermage_callbacks(config=None)


def test_an_error_of_papermage_core_passes_through_an_extension_as_it_is(install):
    install(
        "acme",
        {GROUP: {"a": "acme_a"}},
        acme_a=(
            "from papermage_core.errors import DataError\nfrom papermage_core.plugin import hookimpl\n"
            "@hookimpl\ndef papermage_evaluated(split): raise DataError('no ' + split)\n"
        ),
    )
    with pytest.raises(DataError, match="no test"):
        Plugins().extensions(["a"]).papermage_evaluated("test", {})


def test_a_module_without_life_cycle_hooks_is_refused(install):
    install("acme", {GROUP: {"a": "acme_a"}}, acme_a="x = 1")
    with pytest.raises(PluginError, match="implements none of the life-cycle hooks papermage_callbacks"):
        Plugins().extensions(["a"])


def test_extensions_are_found_and_refused_as_components_are(install):
    with pytest.raises(PluginError, match="extensions=nowhere: unknown extension; known: repeats"):
        Plugins().extensions(["nowhere"])
