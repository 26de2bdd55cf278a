"""``papermage-plugins``: what it prints, what it exits with, and what it does not import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from papermage_core.cli.plugins import main
from papermage_core.plugin.manager import Plugins

HEADS = "papermage.model_head"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_list_names_every_component_with_its_status(install, capsys, monkeypatch):
    install("acme-heads", {HEADS: {"acme": "acme", "crf": "acme"}}, version="2.3", acme="")
    install("bad-heads", {HEADS: {"bad": "no_such_module_xyz"}})
    install("shut-heads", {HEADS: {"shut": "acme"}})
    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", "shut-heads")
    code, out, _ = run(capsys, "list")
    assert code == 0
    rows = {tuple(line.split()[1:3]): line.split() for line in out.splitlines() if line.startswith("model_head")}
    assert rows["acme", "acme-heads"] == ["model_head", "acme", "acme-heads", "2.3", "installed", "ok"]
    assert rows["crf", "acme-heads"][-1] == rows["crf", "papermage_core"][-1] == "clash"
    assert rows["bad", "bad-heads"][-1] == "broken"
    assert rows["shut", "shut-heads"][-1] == "blocked"
    assert rows["linear", "papermage_core"][-2:] == ["built-in", "ok"]
    assert "choose with head=acme-heads:crf" in out


def test_the_list_for_machines_says_the_same(install, capsys):
    install("bad-heads", {HEADS: {"bad": "no_such_module_xyz"}})
    code, out, _ = run(capsys, "list", "--json")
    found = {(item["kind"], item["name"]): item for item in json.loads(out)}
    assert code == 0
    assert found["model_head", "bad"]["status"] == "broken"
    assert "no_such_module_xyz" in found["model_head", "bad"]["error"]
    assert found["label_scheme", "bio"] | {"version": ""} == {
        "kind": "label_scheme",
        "name": "bio",
        "distribution": "papermage_core",
        "version": "",
        "origin": "built-in",
        "value": "papermage_schemes.bio",
        "status": "ok",
        "error": "",
    }


def test_listing_with_check_imports_and_finds_the_broken(install, capsys, head_source):
    install("acme-heads", {HEADS: {"acme": "acme", "bad": "acme_bad"}}, acme=head_source, acme_bad="1 / 0")
    assert run(capsys, "list")[0] == 0
    code, out, _ = run(capsys, "list", "--check")
    assert code == 4
    assert "ZeroDivisionError" in out
    assert [line.split()[-1] for line in out.splitlines() if " acme " in line] == ["ok"]


def test_info_describes_options_place_and_partners(capsys, install):
    install(
        "acme-heads",
        {HEADS: {"acme": "acme"}},
        acme="""
import attrs
from papermage_core.plugin import ModelHeadConfig, hookimpl, option
@attrs.frozen(kw_only=True)
class Config(ModelHeadConfig):
    "A head for tests."
    rate: float = option(0.5, help="how much", ge=0, lt=1)
    mode: str = option("a", help="which way", choices=("a", "b"))
    size: int | None = option(help="how large")
    def build(self, input_size, scheme): ...
@hookimpl
def papermage_model_head(): return Config
""",
    )
    code, out, _ = run(capsys, "info", "acme")
    assert code == 0
    assert "head=acme  model head of acme-heads 1.0" in out
    assert "A head for tests." in out
    assert "acme.Config" in out
    assert "targets: tags; fits label scheme bilou, bio, bioes, io, iob1" in out
    assert "head.rate  (float; default 0.5; ≥ 0; < 1)  how much" in out
    assert 'head.mode  (str; default "a"; one of a, b)  which way' in out
    assert "head.size  (int or none; required)  how large" in out
    (known,) = json.loads(run(capsys, "info", "acme", "--json")[1])
    assert known["options"][0] == {
        "name": "rate", "type": "float", "required": False, "help": "how much", "default": 0.5, "ge": 0, "lt": 1
    }  # fmt: skip


def test_info_of_a_name_of_two_kinds_describes_both_or_the_kind_given(install, capsys, head_source):
    install("acme-heads", {HEADS: {"bio": "acme"}}, acme=head_source)
    out = run(capsys, "info", "bio")[1]
    assert "head=bio" in out
    assert "label_scheme=bio" in out
    for word in ("head", "model_head"):  # as --help, and as list shows it
        assert "label_scheme=bio" not in run(capsys, "info", "bio", "--kind", word)[1]


@pytest.mark.parametrize(
    ("typed", "key"),
    [("head=span", "head"), ("scheme=span", "label_scheme"), ("label_scheme=papermage_core:span", "label_scheme")],
)
def test_the_kind_may_be_typed_before_the_name(capsys, typed, key):
    assert [item["kind"].endswith(key) for item in json.loads(run(capsys, "info", typed, "--json")[1])] == [True]


def test_info_says_what_may_be_part_of_a_component_and_where_its_options_are_listed(capsys):
    out = run(capsys, "info", "encoder=stack")[1]
    names = [component.name for component in Plugins().components("context_encoder")]
    line = f"      one of {', '.join(names)}; its own options are typed as encoder.inner.KEY=VALUE; "
    assert f"{line}those of compact are below" in out.splitlines()
    assert "      papermage-plugins info encoder=NAME lists those of another" in out.splitlines()


def test_info_of_an_extension_lists_its_hooks(install, capsys):
    source = "from papermage_core.plugin import hookimpl\n@hookimpl\ndef papermage_evaluated(split): ...\n"
    install("acme", {"papermage.extension": {"watcher": "acme"}}, acme=source)
    assert "hooks: papermage_evaluated" in run(capsys, "info", "watcher")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "lineer"], 4, "no component is named 'lineer'; known: "),
        (["info", "bio", "--kind", "head"], 4, "head=bio: there is a label scheme of this name, and no model head"),
        (["info", "hed=crf"], 4, "no component is named 'hed=crf'"),
        (["info", "head=crff"], 4, "head=crff: unknown model head"),
        (["info", "head=crf", "--kind", "scheme"], 2, "contradict each other"),
        (["check", "span"], 4, "type label_scheme=span or head=span"),
        (["check", "io", "head.dropout=1"], 2, "head.dropout: expected an option of the component, label_scheme.NAME"),
        (["check", "hf"], 2, "add encoder.model_name_or_path=..."),
        (["new", "Bad Name", "--kind", "head"], 2, "is no name for a component"),
        (["new", "crf", "--kind", "head"], 2, "head=crf is given by distribution 'papermage_core' "),
    ],
)
def test_what_cannot_be_done_is_a_message_and_an_exit_code(capsys, arguments, code, message):
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["list", "--json", "crf"],
        ["check", "crf", "--jsn"],
        ["new", "acme"],
        ["new", "acme", "--kind", "nothing"],
    ],
)
def test_wrong_usage_leaves_with_two(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.slow
def test_check_runs_the_suite_and_says_what_holds(capsys):
    code, out, _ = run(capsys, "check", "io", "--kind", "scheme", "label_scheme.reading=strict")
    assert code == 0
    assert out.splitlines()[-2:] == [
        "checked with label_scheme.reading=strict",
        "random examples: the same in every run; --seed N draws others",
    ]
    assert "ok     entities come back from encode and decode" in out
    assert "FAILED" not in out
    report = json.loads(run(capsys, "check", "io", "--seed", "3", "--json")[1])
    assert report["passed"] is True
    assert (report["options"], report["varied"], report["seed"]) == (
        [{"label_scheme.reading": "lenient"}], ["label_scheme.reading"], 3
    )  # fmt: skip
    assert all(check["passed"] and not check["skipped"] for check in report["checks"])


def test_check_says_what_failed_and_why(tmp_path, capsys):
    file = tmp_path / "forgetful.py"
    file.write_text(
        "import attrs, numpy as np\n"
        "from papermage_core.plugin import LabelScheme, LabelSchemeConfig, hookimpl\n"
        "class Scheme(LabelScheme):\n"
        "    targets = 'spans'\n"
        "    def __init__(self, labels): self.labels = tuple(labels)\n"
        "    def encode(self, spans, n_units): return list(spans)\n"
        "    def decode(self, target): return sorted(target, key=lambda s: (s.start, s.stop))[:1]\n"
        "@attrs.frozen(kw_only=True)\n"
        "class Config(LabelSchemeConfig):\n"
        "    targets = 'spans'\n"
        "    def build(self, labels): return Scheme(labels)\n"
        "@hookimpl\n"
        "def papermage_label_scheme(): return Config\n"
    )
    code, out, _ = run(capsys, "check", "forgetful", "--plugins-path", str(file))
    assert code == 1
    assert "FAILED entities come back from encode and decode" in out
    assert "To fix it: make decode the inverse of encode" in out


def test_check_takes_a_file_by_a_relative_path_and_hands_on_an_absolute_one(tmp_path, capsys, monkeypatch, head_source):
    """Its other processes run in folders of their own."""
    (tmp_path / "mine.py").write_text(head_source)
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        "papermage_core.cli.plugins._report",
        lambda plugins, component, arguments: seen.extend([*plugins.paths, component.path]) or {"passed": True},
    )
    assert run(capsys, "check", "mine", "--plugins-path", "mine.py")[0] == 0
    assert seen == [tmp_path / "mine.py"] * 2


def test_a_check_can_be_left_out_with_a_reason_that_the_report_shows_and_a_terminal_shows_which_one_runs(
    capsys, monkeypatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = run(capsys, "check", "io", "--skip", "entities come back from encode and decode=they touch")
    assert code == 0
    assert "skip   entities come back from encode and decode: they touch" in out
    assert any(line.endswith(" checks passed, 1 skipped") for line in out.splitlines())
    steps = re.findall(r"(\d+)/(\d+) (.*?)\r", err)
    names = [line[7:].partition(" (")[0].partition(":")[0] for line in out.splitlines() if line[:3] in ("ok ", "ski")]
    assert [name for _, _, name in steps] == names
    assert [(int(number), int(of)) for number, of, _ in steps] == [(i + 1, len(names)) for i in range(len(names))]


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        ("entities come back from encode and decod=x", "has no check 'entities come back from encode and decod'. Did"),
        (
            "entities come back from encode and decode",
            'expected the name of a check and a reason, --skip "CHECK=REASON"',
        ),
        ("entities come back from encode and decode= ", "expected the name of a check and a reason"),
    ],
)
def test_what_cannot_be_left_out_is_an_error(capsys, skip, message):
    code, out, err = run(capsys, "check", "io", "--skip", skip)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.slow
def test_check_of_a_reader_reads_samples_and_says_what_it_did_not_check(tmp_path, capsys):
    sound, empty = tmp_path / "a.jsonl", tmp_path / "empty.jsonl"
    sound.write_text('{"symbols": "a b", "metadata": {}, "entities": {}}\n')
    empty.write_text("")
    code, out, _ = run(capsys, "check", "reader=jsonl")
    assert code == 0
    assert "skip   documents are read one by one: a file to read is needed: --sample FILE" in out
    assert "skip   a broken file is refused by its name: broken files are needed" in out
    code, out, _ = run(capsys, "check", "reader=jsonl", "--sample", str(sound))
    assert code == 0
    assert "ok     documents are read one by one" in out
    assert "skip   a broken file is refused by its name: broken files are needed" in out
    code, out, _ = run(capsys, "check", "jsonl", "--sample", str(sound), "--sample", str(empty))
    assert code == 1
    assert "empty.jsonl: this file holds no document" in out
    assert run(capsys, "check", "jsonl", "--sample", str(tmp_path / "missing"))[0] == 1
    assert "is for document readers" in run(capsys, "check", "io", "--sample", str(sound))[2]


def test_info_on_a_format_shows_its_reader_and_writer_and_their_endings(capsys):
    code, out, _ = run(capsys, "info", "jsonl")
    assert code == 0
    assert "reader=jsonl  document reader of" in out
    assert "writer=jsonl  document writer of" in out
    assert out.count("  endings: .jsonl, .json\n") == 2


@pytest.mark.slow
def test_check_of_a_format_checks_its_reader_and_its_writer(capsys):
    code, out, _ = run(capsys, "check", "jsonl", "reader.lenient=no", "writer.images=no")
    assert code == 0
    assert "ok     what is written is read back" in out
    assert [line.split()[:3] for line in out.splitlines() if "checks passed" in line] == [
        ["document", "reader", "'jsonl'"],
        ["document", "writer", "'jsonl'"],
    ]
    assert [report["kind"] for report in json.loads(run(capsys, "check", "jsonl", "--json")[1])] == [
        "document_reader",
        "document_writer",
    ]
    assert json.loads(run(capsys, "check", "writer=jsonl", "--json")[1])["passed"] is True
    assert "head.x: expected an option of the component" in run(capsys, "check", "jsonl", "head.x=1")[2]


def test_quiet_holds_before_and_after_the_command(install, capsys, head_source):
    install("acme", {HEADS: {"acme": "acme"}}, acme="print('hello')\n" + head_source)
    assert run(capsys, "-q", "info", "acme")[2] == ""
    assert run(capsys, "info", "-q", "acme")[2] == ""


FIFTY = """
import json, sys
sys.argv = ["papermage", *json.loads(sys.argv[1])]
from papermage_core.cli import plugins, train
code = (plugins if sys.argv[1] == "list" else train).main(sys.argv[1:])
heavy = {"torch", "transformers", "pytorch_lightning"} & set(sys.modules)
named = [name for name in sys.modules if name.startswith("dummy_")]
print(json.dumps({"code": code, "heavy": sorted(heavy), "imported": named}), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["list"], ["--help"]])
def test_with_fifty_plugins_nothing_of_them_is_imported_and_torch_is_not_either(install, head_source, arguments):
    for i in range(50):
        source = "import torch\n" + head_source if i < 5 else "1 / 0" if i < 7 else head_source
        install(f"dummy-{i}", {HEADS: {f"dummy{i}": f"dummy_{i}"}}, **{f"dummy_{i}": source})
    site = str(install("dummy-50", {HEADS: {"dummy50": "dummy_missing"}}))
    environment = {**os.environ, "PYTHONPATH": site}
    command = [sys.executable, "-c", FIFTY, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == {"code": 0, "heavy": [], "imported": []}
    assert "dummy49" in done.stdout
    assert "dummy50" in done.stdout
