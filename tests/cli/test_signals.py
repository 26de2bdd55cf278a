"""SIGTERM ends a command as Ctrl-C does: what is half written is cleared up, and a line says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from papermage_core.cli._shell import run
from papermage_core.cli._signals import Terminated, interrupts_kept, terminable
from papermage_core.cli.data import main as data_main
from papermage_core.files import whole_file, whole_folder


@pytest.mark.parametrize("make", [whole_file, whole_folder])
def test_nothing_half_written_is_left(make: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    former = signal.getsignal(signal.SIGTERM)

    def body() -> None:
        with make(tmp_path / "a") as new:  # type: ignore[operator]
            (new / "b").write_text("b") if isinstance(new, Path) else new.write(b"b")
            os.kill(os.getpid(), signal.SIGTERM)

    assert run(body, prog="papermage-thing") == 143
    assert capsys.readouterr().err == "papermage-thing: stopped by SIGTERM\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_command_that_is_done_ends_as_such_though_it_is_stopped_in_its_last_moment() -> None:
    code = """
import atexit, os, signal
from papermage_core.cli._shell import run
class Late:
    def __del__(self): os.kill(os.getpid(), signal.SIGTERM)
late = Late()
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
code = run(lambda: None)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
raise SystemExit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_that_comes_while_an_object_is_thrown_away_is_not_lost(
    number: signal.Signals, raised: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    hook, former = sys.unraisablehook, signal.signal(signal.SIGINT, signal.default_int_handler)

    class Late:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            for _ in range(1000):  # where Python looks for signals
                pass

    def body() -> None:
        with terminable(), interrupts_kept():
            late = Late()
            del late
            time.sleep(60)

    try:
        with pytest.raises(raised) as caught:
            body()
    finally:
        signal.signal(signal.SIGINT, former)
    assert type(caught.value) is raised
    assert capfd.readouterr().err == ""
    assert sys.unraisablehook is hook


def test_what_else_is_raised_while_an_object_is_thrown_away_is_told_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: told.append(found.exc_value))

    class Late:
        def __del__(self) -> None:
            raise ValueError("odd")

    with interrupts_kept():
        late = Late()
        del late
    assert [str(each) for each in told] == ["odd"]


def test_who_takes_the_signal_already_goes_on_taking_it() -> None:
    taken: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: taken.append(number))
    try:
        assert run(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 0
    finally:
        signal.signal(signal.SIGTERM, former)
    assert taken == [signal.SIGTERM]


def test_a_process_that_was_forked_ends_by_the_signal() -> None:
    code = """
import os, signal
from papermage_core.cli._shell import run
def body():
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]))
raise SystemExit(run(body))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{signal.SIGTERM:d}\n", "")


def test_no_plugin_is_blamed_for_the_signal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import os, signal, attrs\n"
        "from papermage_core.plugin import DocumentWriterConfig, hookimpl\n"
        "@attrs.frozen(kw_only=True)\n"
        "class Config(DocumentWriterConfig):\n"
        "    suffixes = ('.mine',)\n"
        "    def build(self): return self\n"
        "    def write(self, documents, target): os.kill(os.getpid(), signal.SIGTERM)\n"
        "@hookimpl\n"
        "def papermage_document_writer(): return Config\n"
    )
    (tmp_path / "a.txt").write_text("A text.")
    out = tmp_path / "b.mine"
    assert data_main(["convert", str(tmp_path / "a.txt"), str(out), f"plugins_path={plugin}"]) == 143
    assert "stopped by SIGTERM" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != "_") == ["a.txt", "plugin.py"]


def test_an_interrupt_while_modules_are_imported_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "attrs").mkdir()
    (tmp_path / "attrs" / "__init__.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    for words in (["papermage-data"], ["papermage", "data"]):
        (point,) = entry_points(group="console_scripts", name=words[0])
        script = tmp_path / words[0]
        script.write_text(f"from {point.module} import {point.attr}\nraise SystemExit({point.attr}())\n")
        command = [sys.executable, script, *words[1:], "stats", "x"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (130, "papermage-data: interrupted\n")


def test_who_imports_the_commands_keeps_the_hook_for_what_nobody_catches(tmp_path: Path) -> None:
    script = tmp_path / "papermage-mine"
    script.write_text(
        "import sys\n"
        "before = sys.excepthook\n"
        "from papermage_core.cli import data, main, train\n"
        "print(main.main(['--version']), sys.excepthook is before)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 True\n")
