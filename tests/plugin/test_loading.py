"""What is wrong with a plugin is said when it is named: what, whose, and what to do."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys

import pytest

from papermage_core.cli.plugins import main
from papermage_core.errors import PluginError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import API_VERSION, ModelHeadConfig

GROUP = "papermage.model_head"

CLASS = """
import attrs, enum
from typing import Any
from papermage_core.plugin import ModelHeadConfig, hookimpl, option

@attrs.define(kw_only=True)
class Mutable:
    bins: int = 1

@attrs.frozen(kw_only=True)
class Frozen:
    bins: int = 1

{decorator}
class Config(ModelHeadConfig):
    {field}

    {build}

@hookimpl
def papermage_model_head():
    return Config
"""
BUILD = "def build(self, input_size, scheme): ..."
SETATTR = "def __setattr__(self, name, value): object.__setattr__(self, name, value)"
FROZEN = "@attrs.frozen(kw_only=True)"


def refusal(install, source: str) -> str:
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, version="2.3", acme_heads=source)
    with pytest.raises(PluginError) as caught:
        Plugins().config_class("model_head", "acme")
    message = str(caught.value)
    assert message.startswith("the model head 'acme' of distribution 'acme-heads' 2.3 cannot be used: ")
    assert "\n" not in message
    assert caught.value.exit_code == 4
    return message


def test_a_sound_plugin_gives_its_config_class(install, head_source):
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads=head_source)
    config_class = Plugins().config_class("model_head", "acme")
    assert issubclass(config_class, ModelHeadConfig)
    assert config_class().hidden == 8


def test_an_entry_point_may_name_an_object_in_a_module(install):
    source = f"""
import attrs
from papermage_core.plugin import ModelHeadConfig, hookimpl
@attrs.frozen(kw_only=True)
class Config(ModelHeadConfig):
    {BUILD}
class Hooks:
    @hookimpl
    def papermage_model_head(self, name):
        return Config
hooks = Hooks()
"""
    install("acme-heads", {GROUP: {"acme": "acme_heads:hooks"}}, acme_heads=source)
    assert Plugins().config_class("model_head", "acme").__name__ == "Config"


def test_only_the_module_of_the_component_named_is_imported(install, head_source):
    entry_points = {GROUP: {"acme": "acme_heads", "other": "acme_other"}}
    install("acme-heads", entry_points, acme_heads=head_source, acme_other=head_source)
    Plugins().config_class("model_head", "acme")
    assert "acme_heads" in sys.modules
    assert "acme_other" not in sys.modules


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_module_xyz", "ModuleNotFoundError: No module named 'no_such_module_xyz'"),
        ("1 / 0", "importing 'acme_heads' failed with ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "importing 'acme_heads' left the program with exit status 3"),
        ("raise ValueError('over\\ntwo lines')", "over two lines"),
    ],
)
def test_a_plugin_that_fails_at_import_is_named_with_the_cause(install, source, why):
    assert why in refusal(install, source)


def test_the_cause_is_kept(install):
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads="1 / 0")
    with pytest.raises(PluginError) as caught:
        Plugins().config_class("model_head", "acme")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_module_is_looked_at_once_and_again_when_it_was_imported_anew(install, head_source):
    source = head_source.replace("    return Config", "    calls.append(1)\n    return Config") + "\ncalls = []\n"
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads=source)
    first = Plugins().config_class("model_head", "acme")
    assert Plugins().config_class("model_head", "acme") is first
    assert sys.modules["acme_heads"].calls == [1]
    del sys.modules["acme_heads"]
    assert Plugins().config_class("model_head", "acme") is not first
    assert sys.modules["acme_heads"].calls == [1]


def test_a_library_call_leaves_the_standard_output_of_the_process_alone(install, head_source, capsys):
    source = "import sys\nseen = sys.stdout\nprint('welcome to acme')\n" + head_source
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads=source)
    config_class = Plugins().config_class("model_head", "acme")
    assert sys.modules[config_class.__module__].seen is sys.stdout
    assert capsys.readouterr().out == "welcome to acme\n"


NOISE = """
import os, sys
print("one by print", end="")
sys.stdout.buffer.write(b"two by the buffer")
os.write(1, b"three by the descriptor")
print("héad 日本")
"""


def test_what_a_plugin_prints_stays_off_the_output_of_a_command_and_is_logged(
    install, head_source, monkeypatch, capfd, caplog
):
    site = install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads=NOISE + head_source)
    monkeypatch.setenv("PYTHONPATH", str(site))
    main(["check", "head=acme", "--json"])
    checks = {check["name"]: check["passed"] for check in json.loads(capfd.readouterr().out)["checks"]}
    assert checks["finding the config class imports no torch"]
    assert "the model head 'acme' of distribution 'acme-heads' 1.0 printed: one by print" in caplog.text
    for words in ("two by the buffer", "three by the descriptor", "héad 日本"):
        assert words in caplog.text


def test_what_a_plugin_logs_later_to_the_stream_it_found_at_import_does_no_harm(install, head_source, capfd):
    source = "import logging, sys\nhandler = logging.StreamHandler(sys.stdout)\n" + head_source
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads=source)
    assert main(["info", "head=acme"]) == 0
    handler = sys.modules["acme_heads"].handler
    handler.emit(logging.makeLogRecord({"msg": "afterwards"}))
    out, err = capfd.readouterr()
    assert "afterwards" not in out
    assert "Logging error" not in err


@pytest.mark.parametrize(
    "source",
    [
        "raise KeyboardInterrupt",
        "def stop():\n    raise KeyboardInterrupt('no')\nstop()",
        "class Stop(BaseException): ...\nraise Stop",
        "raise GeneratorExit",
    ],
)
def test_a_plugin_that_raises_what_is_no_exception_is_named(install, source):
    assert "importing 'acme_heads' failed with" in refusal(install, source)


def handler_that_raises(number, frame):
    raise KeyboardInterrupt


@pytest.mark.parametrize("handler", [signal.default_int_handler, handler_that_raises])
def test_ctrl_c_during_an_import_interrupts(install, handler):
    install("a", {GROUP: {"acme": "acme_heads"}}, acme_heads="import signal\nsignal.raise_signal(signal.SIGINT)")
    former = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Plugins().config_class("model_head", "acme")
    finally:
        signal.signal(signal.SIGINT, former)


def test_a_misspelt_hook_is_refused_with_the_hooks_there_are(install, head_source):
    message = refusal(install, head_source + "\n@hookimpl\ndef papermage_model_heads():\n    return Config\n")
    assert "papermage_model_heads" in message
    assert "papermage_model_head," in message


def test_a_hook_without_the_decorator_is_told_so(install, head_source):
    message = refusal(install, head_source.replace("@hookimpl\n", ""))
    assert "'papermage_model_head' lacks the decorator @hookimpl" in message


def test_a_module_without_the_hook_of_its_group_is_told_which(install):
    assert "does not implement the hook 'papermage_model_head'" in refusal(install, "x = 1")


def test_a_hook_with_an_argument_that_is_not_passed_is_refused(install, head_source):
    message = refusal(install, head_source.replace("papermage_model_head()", "papermage_model_head(colour)"))
    assert "colour" in message


def test_a_hook_beside_others_without_the_decorator_is_refused(install, head_source):
    message = refusal(install, head_source + "\ndef papermage_callbacks(config): return []\n")
    assert "'papermage_callbacks' lacks the decorator @hookimpl" in message


def test_a_hook_without_the_decorator_in_what_an_extension_builds_is_refused(install):
    source = """
        import attrs
        from papermage_core.plugin import ExtensionConfig, hookimpl

        class Mine:
            @hookimpl
            def papermage_loggers(self, config): return []
            def papermage_callbacks(self, config): return []

        @attrs.frozen(kw_only=True)
        class Config(ExtensionConfig):
            def build(self): return Mine()

        @hookimpl
        def papermage_extension(): return Config
    """
    install("acme", {"papermage.extension": {"acme": "acme"}}, acme=source)
    with pytest.raises(PluginError, match="'papermage_callbacks' lacks the decorator @hookimpl"):
        Plugins().extensions(["acme"])


LOGS = """
import logging
log = logging.getLogger(__name__)
log.info("loading acme")
log.debug("in detail")
logging.getLogger("another").info("of another package")
"""


@pytest.mark.parametrize(("flags", "shown"), [([], ["loading acme"]), (["-q"], [])])
def test_a_command_shows_what_plugins_log_from_the_level_of_its_own_messages_on(
    install, head_source, flags, shown, tmp_path
):
    site = install("acme-heads", {GROUP: {"acme": "acme_heads"}}, acme_heads=LOGS + head_source)
    (tmp_path / "of_a_file.py").write_text(LOGS.replace("acme", "a file") + head_source)
    code = (
        "import logging, sys\nfrom papermage_core.cli.plugins import main\n"
        "codes = [main(['info', 'head=acme', *sys.argv[2:]]),"
        " main(['info', 'head=of_a_file', '--plugins-path', sys.argv[1], *sys.argv[2:]])]\n"
        "assert codes == [0, 0] and logging.getLogger('acme_heads').level == logging.NOTSET"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "of_a_file.py"), *flags]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stderr.splitlines() == shown + [line.replace("acme", "a file") for line in shown]


@pytest.mark.parametrize("returned", ["None", "3", "Config()", "int", "hookimpl"])
def test_a_hook_that_returns_the_wrong_thing_is_told_what_was_expected(install, head_source, returned):
    message = refusal(install, head_source.replace("return Config", f"return {returned}"))
    assert "its hook 'papermage_model_head' returned" in message
    assert "expected a subclass of ModelHeadConfig" in message


def test_a_hook_that_fails_is_named_with_the_cause(install, head_source):
    message = refusal(install, head_source.replace("return Config", "return {}['acme']"))
    assert "its hook 'papermage_model_head' failed with KeyError: 'acme'" in message


@pytest.mark.parametrize(
    ("decorator", "field", "build", "why"),
    [
        ("", "hidden: int = 8", BUILD, "it is not decorated: write @attrs.frozen(kw_only=True) above it"),
        ("@attrs.define(kw_only=True)", SETATTR, BUILD, "it is not frozen: write @attrs.frozen(kw_only=True)"),
        (FROZEN, "layout: Mutable = Frozen()", BUILD, "option 'layout', of the class Mutable: it is not frozen"),
        (FROZEN, "layout: Frozen = Mutable()", BUILD, "option 'layout' has the mutable default Mutable(bins=1)"),
        ("@attrs.frozen", "hidden: int = 8", BUILD, "option 'hidden' is not keyword-only"),
        (FROZEN, "sizes: tuple[int, ...] = attrs.field(factory=list)", BUILD, "'sizes' has the mutable default []"),
        (FROZEN, "sizes: tuple[int, ...] = attrs.field(default={})", BUILD, "'sizes' has the mutable default {}"),
        (FROZEN, "sizes: list[int] = option(help='sizes')", BUILD, "option 'sizes' has the type list"),
        (FROZEN, "size: Any = 3", BUILD, "option 'size' has the type Any"),
        (FROZEN, "size: 'Nowhere' = 3", BUILD, "the type of an option cannot be resolved: name 'Nowhere'"),
        (FROZEN, "hidden: int = 8", "", "it lacks build()"),
    ],
)
def test_a_config_class_out_of_order_is_refused_with_what_to_write(install, decorator, field, build, why):
    assert why in refusal(install, CLASS.format(decorator=decorator, field=field, build=build))


def test_all_faults_of_a_config_class_are_told_at_once(install):
    source = CLASS.format(decorator="@attrs.frozen", field="sizes: list[int] = attrs.field(factory=list)", build="")
    message = refusal(install, source)
    for error in ["lacks build()", "not keyword-only", "mutable default", "has the type list"]:
        assert error in message


def test_a_plugin_for_a_newer_api_is_told_to_upgrade_the_core(install, head_source):
    message = refusal(install, head_source + "\npapermage_api_version = 99\n")
    assert "it was made for plugin API 99, and papermage_core" in message
    assert "pip install --upgrade papermage_core" in message


@pytest.mark.parametrize("version", ["'1'", "0", "True", "1.5"])
def test_a_malformed_api_version_is_refused(install, head_source, version):
    message = refusal(install, head_source + f"\npapermage_api_version = {version}\n")
    assert "expected a whole number from 1" in message


@pytest.mark.parametrize("version", range(1, API_VERSION + 1))
def test_a_plugin_for_this_api_or_an_older_one_loads(install, head_source, version):
    install("a", {GROUP: {"acme": "acme_heads"}}, acme_heads=f"{head_source}\npapermage_api_version = {version}\n")
    assert Plugins().config_class("model_head", "acme")().hidden == 8


def test_checking_marks_the_broken_and_leaves_the_sound(install, head_source):
    entry_points = {GROUP: {"acme": "acme_heads", "other": "acme_other"}}
    install("acme-heads", entry_points, acme_heads=head_source, acme_other="1 / 0")
    plugins = Plugins()
    assert plugins.checked(plugins.find("model_head", "acme")).status == "ok"
    broken = plugins.checked(plugins.find("model_head", "other"))
    assert broken.status == "broken"
    assert "ZeroDivisionError" in broken.error


@pytest.mark.parametrize(
    "hook",
    [
        "papermage_context_encoder",
        "papermage_label_scheme",
        "papermage_model_head",
        "papermage_document_reader",
        "papermage_document_processor",
        "papermage_document_writer",
    ],
)
def test_every_kind_has_its_hook_and_its_base_class(install, hook):
    """Each hook of `ComponentHooks` is called, and what it returns is held to its kind."""
    kind = hook.removeprefix("papermage_")
    base = {
        "context_encoder": "ContextEncoderConfig",
        "label_scheme": "LabelSchemeConfig",
        "model_head": "ModelHeadConfig",
        "document_reader": "DocumentReaderConfig",
        "document_processor": "DocumentProcessorConfig",
        "document_writer": "DocumentWriterConfig",
    }[kind]
    source = f"""
import attrs
from papermage_core.plugin import {base}, hookimpl
@attrs.frozen(kw_only=True)
class Config({base}):
    makes = ()
    def build(self, *arguments): ...
@hookimpl
def {hook}(name):
    return Config if name == "right" else int
"""
    install("acme", {f"papermage.{kind}": {"right": "acme", "wrong": "acme"}}, acme=source)
    assert Plugins().config_class(kind, "right").__name__ == "Config"
    with pytest.raises(PluginError, match=f"expected a subclass of {base}"):
        Plugins().config_class(kind, "wrong")
