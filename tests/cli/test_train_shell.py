"""``papermage-train`` before any training: help, schema, printed config, messages and exit codes."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from papermage_core.cli import _shell
from papermage_core.cli.train import _summary, main
from papermage_core.config import load_config
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.errors import PAGE, CheckpointError, ConfigError, DataError, PluginError

BASE = ["data_path=train.jsonl", "label_field=Disease"]


def outcome(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    out, err = capsys.readouterr()
    return code, out, err


def in_process(script: str, *, stdout: Any = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


# Help


def test_help_names_every_option_component_and_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "--help")

    assert code == 0
    words = set(re.findall(r"\w+", out))
    assert words >= {*own_options(), *lightning_parameters(), "compact", "hf", "bio", "linear", "crf", "jsonl"}
    for flag in ["--dry-run", "--print-config", "--schema", "--debug", "--quiet", "--version", "--config"]:
        assert flag in out


def test_help_on_a_component_lists_its_options_with_type_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "--help", "head=crf")

    assert code == 0
    assert re.search(r"head\.dropout=0\.\d+ +a number at least 0 and below 1; ", out)


@pytest.mark.parametrize(
    ("topic", "part"),
    [
        ("head", "head=linear of distribution 'papermage_core'"),
        ("seed", "seed=470"),
        ("warmup_steps", "above 1: their number"),
        ("gradient_clip_val", "a number at least 0, or 'none'"),
        ("head.dropout", "head=linear"),
        ("crf", "head=crf of distribution 'papermage_core'"),
        ("span", "label_scheme=span of distribution 'papermage_core'"),
        ("span", "head=span of distribution 'papermage_core'"),
        ("scheme=span", "label_scheme=span of distribution 'papermage_core'"),
        ("model_head=crf", "head=crf of distribution 'papermage_core'"),
        ("processors=tokens,rows", "  processors.tokens.style=punctuation"),
        ("processors=tokens,rows", "processors=rows of distribution 'papermage_core'"),
        ("processors.tokens.style", "  processors.tokens.style=punctuation"),
        ("processors", "papermage-train --help processors=NAME lists the options of one"),
        ("reader", "label_studio"),
        ("reader=conll", "  reader.columns="),
        ("reader.columns", "reader=conll of distribution 'papermage_core'"),
        ("writer", "  writer=          biblstruct"),
        ("writer=csv", "  writer.safe=yes"),
        ("predictor", "processors.predictor.model_name_or_path=..."),
        ("brat", "writer=brat of distribution 'papermage_core'"),
    ],
)
def test_help_on_one_thing(capsys: pytest.CaptureFixture[str], topic: str, part: str) -> None:
    code, out, _ = outcome(capsys, "-h", topic)

    assert code == 0
    assert part in out


def test_help_on_an_unknown_thing_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "--help", "sed")
    assert (code, err.splitlines()[0]) == (
        2,
        "papermage-train: sed (command line): unknown option. Did you mean 'seed'?",
    )
    for topic, name in (("head=crff", "crf"), ("processors=tokens,row", "rows"), ("writer=cvs", "csv")):
        code, _, err = outcome(capsys, "--help", topic)
        assert code == 4
        assert f"Did you mean {name!r}?" in err
    code, _, err = outcome(capsys, "--help", "writer.no")
    assert (code, err.splitlines()[0]) == (
        2,
        "papermage-train: writer.no (command line): no document writer has this option",
    )


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["processors=tokens,", "rows"], "no space in a list; type processors=tokens,rows"),
        (["processors=tokens,tokens"], "tokens is named twice"),
        (["processors=tokens", "tokens.style=words"], "Did you mean 'processors.tokens.style'?"),
        (["processors.tokens.style=words"], "processors.tokens (command line): no processor of this name is used"),
        (["processors=tokens", "processors.tokens.style=w"], "='w' (command line): expected 'words', 'punctuation'"),
    ],
)
def test_processors_and_their_options_in_the_wrong_place_are_refused_by_every_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], part: str
) -> None:
    from papermage_core.cli import data

    code, _, err = outcome(capsys, "--dry-run", *BASE, *words)
    assert (code, part in err) == (2, True), err
    file = tmp_path / "a.txt"
    file.write_text("a")
    assert data.main(["convert", str(file), str(tmp_path / "b.jsonl"), *words]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert not (tmp_path / "b.jsonl").exists()


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert re.match(r"papermage_core \d+\.\d+", capsys.readouterr().out)


def dummy_plugins(folder: Path) -> None:
    """Make fifty distributions with a head each, of which five import torch and two are broken."""
    for i in range(50):
        info = folder / f"dummy_{i}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dummy-{i}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[papermage.model_head]\ndummy{i} = dummy_{i}\n")
        if i:
            body = "import torch" if i <= 5 else "raise RuntimeError('broken')" if i == 6 else ""
            (folder / f"dummy_{i}.py").write_text(body)


HEAVY = '{"torch", "pytorch_lightning", "lightning_fabric", "transformers", "dummy_1", "dummy_6"}'


@pytest.mark.parametrize("arguments", [["--help"], ["--help", "head=crf"], ["--dry-run", *BASE], ["--version"]])
def test_nothing_heavy_is_imported_whatever_is_installed(tmp_path: Path, arguments: list[str]) -> None:
    dummy_plugins(tmp_path)
    (tmp_path / "train.jsonl").touch()
    done = in_process(
        f"import os, sys\nos.chdir({str(tmp_path)!r})\nfrom papermage_core.cli.train import main\n"
        f"try:\n    code = main({arguments!r})\nexcept SystemExit as exc:\n    code = exc.code\n"
        f"assert code == 0, code\nassert not {HEAVY} & set(sys.modules), {HEAVY} & set(sys.modules)",
        PYTHONPATH=os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])),
    )

    assert done.returncode == 0, done.stderr
    if arguments == ["--help"]:
        assert "dummy49" in done.stdout


# What is printed


def test_the_printed_config_says_where_each_value_came_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("label_field: on\nhead:\n  name: crf\n  dropout: 0.3\nmax_steps: 7\n")

    code, out, _ = outcome(capsys, "-c", str(file), "--print-config", "data_path=a.jsonl", "seed=1")

    assert code == 0
    lines = dict(re.fullmatch(r"(.*?) +# (.*)", line).groups() for line in out.splitlines() if " # " in line)  # type: ignore[union-attr]
    assert lines["seed: 1"] == lines["data_path: [a.jsonl]"] == "command line"
    assert lines["  name: crf"] == f"{file}:3"
    assert lines["  dropout: 0.3"] == f"{file}:4"
    assert lines["max_steps: 7"] == f"{file}:5"
    assert lines["stride: 32"] == "default"


@pytest.mark.parametrize(
    "notes", ["# x", "naïve 日本", "\u202eevil\x1b[2J", "👨\u200d👩", "a\u2028b\x85c\nd", "\U000e0001é"]
)
def test_the_printed_config_is_a_config_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, notes: str) -> None:
    arguments = [
        *BASE,
        "head=crf",
        "head.dropout=0.25",
        "max_time=00:01:00:00",
        "limit_train_batches=0.5",
        f"notes={notes}",
    ]
    _, out, _ = outcome(capsys, "--print-config", *arguments)
    file = tmp_path / "printed.yaml"
    file.write_text(out)

    assert load_config([file]).notes == notes
    assert load_config([file]).to_yaml() == load_config([], arguments).to_yaml()


def test_a_dry_run_says_what_would_run_and_reads_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("train.jsonl").touch()

    code, out, _ = outcome(capsys, "--dry-run", "data_path=train.jsonl*2", "label_field=Disease", "head=crf")

    assert code == 0
    assert "no data was read" in out
    assert "crf of papermage_core" in out
    assert "train.jsonl*2" in out
    assert str(tmp_path / "cache") in out
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[1:]}
    assert (words["max_epochs"], words["read"]) == ("5", "tokens, together in each of pages")
    assert "processors" not in words
    more = ["processors=tokens,sentences", "max_epochs=3", "max_steps=7", "val_data_path=train.jsonl"]
    _, out, _ = outcome(capsys, "--dry-run", "data_path=train.jsonl", "label_field=Disease", *more)
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[1:]}
    shown = (words["processors"], words["max_epochs"], words["max_steps"], words["val_data_path"])
    assert shown == ("tokens, sentences", "3", "7", "train.jsonl")
    assert "val_split" not in words
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


@pytest.mark.parametrize("flags", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        ([f"data_path={'x' * 5000}"], 3, ["no such file or folder"]),
        (["data_path=no.jsonl"], 3, ["data_path=no.jsonl (command line): no such file or folder"]),
        (["data_path=there.jsonl*2,no.jsonl*2"], 3, ["data_path=no.jsonl (command line)"]),
        (["data_path=there.jsonl,no/*.jsonl"], 3, ["data_path=no/*.jsonl (command line)"]),
        (["data_path=**/*.json"], 3, ["data_path=**/*.json (command line)"]),
        (["data_path=no", "val_data_path=nor", "test_data_path=t"], 3, ["data_path=no", "val_data_path=nor", "t (com"]),
        (["data_path=there.jsonl", "model_name_or_path=./no"], 2, ["model_name_or_path=./no (command line): no such"]),
        (
            ["data_path=there.jsonl", "encoder=hf", "encoder.model_name_or_path=/no"],
            2,
            ["encoder.model_name_or_path=/no"],
        ),
        (["data_path=there.jsonl", "mode=eval", "model_name_or_path=no"], 2, ["model_name_or_path=no (command line)"]),
        (["data_path=there.jsonl", "model_name_or_path=/no", "resume=n"], 2, ["model_name_or_path=/no", "resume=n (c"]),
        (["data_path=there.jsonl", "resume=no.ckpt"], 2, ["resume=no.ckpt (command line): no such file"]),
    ],
)
def test_a_path_that_is_not_there_stops_before_anything_is_made(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    arguments: list[str],
    code: int,
    parts: list[str],
) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").touch()

    found, out, err = outcome(capsys, *flags, *arguments, "label_field=Disease")

    assert (found, out) == (code, ""), err
    assert all(part in err for part in parts)
    assert [path.name for path in tmp_path.iterdir()] == ["there.jsonl"]


@pytest.mark.parametrize("flags", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("accelerator=foo", "invalid accelerator name: `accelerator='foo'`"),
        ("strategy=foo", "invalid strategy name: `strategy='foo'`"),
        ("strategy=deepspeed", "you must have DeepSpeed installed"),
        ("precision=transformer-engine", "Requirement 'transformer_engine"),
        ("profiler=foo", "`profiler`"),
        ("gradient_clip_algorithm=foo", "`gradient_clip_algorithm` foo is invalid"),
        ("devices=foo", "`devices`"),
        ("devices=-3", "devices='-3' (command line): expected 'auto'"),
        ("learning_rate=inf", "learning_rate='inf' (command line): expected a number above 0"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses_before_it_reads_data(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    argument: str,
    part: str,
) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").write_text("no document\n")

    code, out, err = outcome(capsys, *flags, "data_path=there.jsonl", "label_field=Disease", argument)

    assert (code, out) == (2, ""), err
    assert part in err
    assert [path.name for path in tmp_path.iterdir()] == ["there.jsonl"]


@pytest.mark.parametrize("service", ["wandb", "tensorboard", "mlflow"])
def test_a_dry_run_says_which_service_is_not_installed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    (tmp_path / "train.jsonl").touch()
    (tmp_path / service).mkdir()
    monkeypatch.syspath_prepend(tmp_path)  # where there is a folder of that name
    argv = ["--dry-run", f"data_path={tmp_path / 'train.jsonl'}", "label_field=Disease", f"{service}=yes"]
    with monkeypatch.context() as patch:
        patch.setattr("papermage_core.config.paths._SERVICES", {service: ("no_such_module", "no_such")})
        code, _, err = outcome(capsys, *argv)
        assert (code, f"{service}=true needs {service}; type: pip install" in err) == (2, True)
        patch.setattr("papermage_core.config.paths._SERVICES", {service: ("no_such_module", "json")})
        assert outcome(capsys, *argv)[0] == 0


@pytest.mark.parametrize("path", ["there.jsonl", ".", "*.jsonl", "**/*.jsonl", "odd*2", "-", "~/there.jsonl"])
def test_paths_that_are_there_are_found_in_every_form(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("there.jsonl", "odd*2"):
        Path(name).touch()

    assert outcome(capsys, "--dry-run", f"data_path={path}", "label_field=Disease")[0] == 0


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "--schema")

    assert code == 0
    assert "head.crf" in json.loads(out)["$defs"]


def test_quiet_leaves_the_results_and_nothing_else(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, train_file: Path, val_file: Path
) -> None:
    options = ["max_epochs=1", "encoder.width=16", "encoder.rows=200", f"default_root_dir={tmp_path / 'run'}"]
    data = [f"data_path={train_file}", f"val_data_path={val_file}", "label_field=names"]

    assert main(["-q", *data, *options]) == 0

    out, err = capfd.readouterr()
    assert err == ""
    assert re.search(r"^names +\d", out, re.MULTILINE)
    assert f"folder  {tmp_path / 'run'}" in out


# Faults


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ([], 2, "nothing to do: type papermage-train data_path=FILE label_field=LAYER"),
        (["--learning_rate", "1e-3"], 2, "type learning_rate=1e-3"),
        (["--dry-rum", *BASE], 2, "--dry-rum: unknown flag. Did you mean '--dry-run'?"),
        (["train.jsonl"], 2, "type data_path=train.jsonl"),
        (["-c", "missing.yaml"], 2, "cannot read the config file missing.yaml"),
        ([*BASE, "label_scheme=span"], 2, "they do not fit"),
        ([*BASE, "head=crff"], 4, "Did you mean 'crf'?"),
        ([*BASE, "head.dropuot=1"], 2, "Did you mean 'head.dropout'?"),
        ([*BASE, "encoder=hf"], 2, "'hf' needs it, a text: folder that save_pretrained wrote"),
        ([*BASE, "plugins_path=missing.py"], 2, "missing.py"),
    ],
)
def test_a_fault_is_one_message_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, part: str
) -> None:
    found, out, err = outcome(capsys, *arguments)

    assert (found, out) == (code, "")
    assert err.startswith("papermage-train: ")
    assert part in err
    assert len(err.splitlines()) <= 3
    assert "Traceback" not in err


def test_several_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "sed=1", "head.dropout=x", "max_epochs=1.5")

    assert code == 2
    first, *errors, more = err.splitlines()
    assert first == "papermage-train: 5 errors in the configuration"
    assert more == f"more on this: {PAGE}#configerror"
    assert all(error.startswith("  - ") for error in errors)
    assert len(errors) == 5


def test_a_missing_argument_of_a_flag_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["-c"])

    assert caught.value.code == 2
    assert "expected one argument" in capsys.readouterr().err


def failing(exc: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise exc

    return body


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


@pytest.mark.parametrize(
    ("exc", "code", "message"),
    [
        (ConfigError("bad"), 2, "x: bad"),
        (DataError("broken", path="a.jsonl", line=3), 3, "x: a.jsonl, line 3: broken"),
        (PluginError("missing"), 4, "x: missing"),
        (CheckpointError("damaged"), 1, "x: damaged"),
        (KeyboardInterrupt(), 130, "x: interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b"),
            1,
            "x: /a/b: No space left on device\nThe disk is full",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            1,
            "x: /a: Permission denied\nPermission is missing",
        ),
        (OSError("odd"), 1, "x: odd"),
        (OutOfMemoryError("2 GiB"), 1, "x: out of memory: 2 GiB\nTry a smaller batch_size"),
        (ZeroDivisionError("division"), 1, "x: unexpected ZeroDivisionError: division\nRun again with --debug"),
    ],
)
def test_each_failure_has_its_message_and_exit_code(
    capsys: pytest.CaptureFixture[str], exc: BaseException, code: int, message: str
) -> None:
    assert _shell.run(failing(exc), prog="x") == code

    err = capsys.readouterr().err
    assert err.startswith(message)
    assert "Traceback" not in err


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert _shell.run(failing(DataError("broken")), prog="x", debug=True) == 3

    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith(f"x: broken\nmore on this: {PAGE}#dataerror\n")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_body_says_its_own_exit_code(result: int | None, code: int) -> None:
    assert _shell.run(lambda: result, prog="x") == code


LOGGING = """
import logging, sys
from papermage_core.cli._shell import run
log = logging.getLogger("papermage_core.somewhere")
def body():
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(level)
run(body, prog="x", {flags})
"""


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ("", ["info", "warning", "error"]),
        ("quiet=True", ["error"]),
        ("debug=True", ["debug", "info", "warning", "error"]),
    ],
)
def test_flags_decide_what_is_logged(flags: str, shown: list[str]) -> None:
    assert in_process(LOGGING.format(flags=flags)).stderr.split() == shown


def test_a_command_that_is_over_leaves_the_levels_of_loggers_alone() -> None:
    packages = ["papermage_core", "papermage_transformers"]
    before = [logging.getLogger(name).level for name in packages]
    during: list[int] = []

    _shell.run(lambda: during.extend(logging.getLogger(name).level for name in packages), prog="x", quiet=True)

    assert during == [logging.ERROR, logging.ERROR]
    assert [logging.getLogger(name).level for name in packages] == before != during


SAY = "import sys\nfrom papermage_core.cli._shell import run, say\nsys.exit(run(lambda: {body}, prog='x'))"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
@pytest.mark.parametrize(("body", "place"), [("say('a result')", "standard output: "), ("print('unflushed')", "")])
def test_a_full_disk_behind_stdout_is_told(body: str, place: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = in_process(SAY.format(body=body), stdout=full)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"x: {place}No space left on device",
        "The disk is full: free some space, or name a folder on another disk.",
    ]


def test_a_reader_that_goes_away_is_no_crash() -> None:
    read, write = os.pipe()
    os.close(read)
    done = in_process(SAY.format(body="say('nobody listens')"), stdout=write)
    os.close(write)

    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_ends_with_130_and_one_line() -> None:
    # A shell has its background jobs ignore the signal, and what they start inherits that.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script = listen + SAY.format(body="(say('ready'), __import__('time').sleep(60))")
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == "x: interrupted\n"


def test_the_lines_that_use_a_model_name_its_plugin_files(tmp_path: Path) -> None:
    facts = {
        "seconds": 1,
        "counts": {"train": {"documents": 1, "units": 20, "entities": 3}},
        "best_epoch": 1,
        "epochs": 1,
        "machine": {"cores": 1},
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.json").write_text(json.dumps(facts))
    result: Any = SimpleNamespace(folder=tmp_path, checkpoint=Path("run"), report=Path("report.html"), split="val")
    config = load_config([], [*BASE, "plugins_path=my head.py,b.py"])
    lines = list(_summary(config, result))
    assert lines[-2].split(maxsplit=1)[1].startswith("model_name_or_path=run 'plugins_path=my head.py,b.py' ")
    assert "from_pretrained('run', plugins_path=['my head.py', 'b.py'])" in lines[-1]
    assert "plugins_path" not in "".join(_summary(load_config([], BASE), result))
    assert "1 document, 20 units, 3 entities" in lines[0]
    assert lines[2].endswith("on 1 core")


VERSIONS = """
import logging
from papermage_core.cli._shell import run
log = logging.getLogger("papermage_core.plugin.manager")
def body():
    for what in ("encoder", "head", "encoder"):
        log.warning("the %s is older", what)
run(body, prog="x")
run(body, prog="y")
"""


def test_a_command_tells_of_another_version_once() -> None:
    told = in_process(VERSIONS).stderr.splitlines()
    assert told == ["the encoder is older", "the head is older"] * 2


def test_words_that_are_not_understood_hide_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "train.jsonl", "seed=1", "seed=2", "max_epoch=3", "batch_size=x", "head.dropuot=1")

    assert code == 2
    assert err.splitlines()[1:-1] == [
        "  - train.jsonl: expected key=value; for the documents type data_path=train.jsonl",
        "  - seed is given twice (command line): seed=1 and seed=2; give one of them",
        "  - batch_size='x' (command line): expected a whole number at least 1, or 'none'",
        "  - max_epoch (command line): unknown option. Did you mean 'max_epochs'?",
        *(line for line in err.splitlines() if "Did you mean 'head.dropout'?" in line),
    ]
    assert "is missing" not in err  # the word may be what was meant


def test_a_flag_is_misspelt_by_its_letters_not_its_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--lr: options have no dashes, type lr=..." in outcome(capsys, *BASE, "--lr")[2]


def test_only_the_name_of_a_processor_is_taken_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'processors.tokens.style'?" in outcome(capsys, *BASE, "tokens.style=words")[2]
    assert "Did you mean" not in outcome(capsys, *BASE, "stages.fields.min_score=1")[2]
