"""Completion where it is typed: a line and the Tab key, in each shell that is installed."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="the shells are asked on a terminal of Unix")

COMMAND = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "--no-config"]}
SET_UP = {  # Ctrl-X Ctrl-P writes the line to a file, and clears it
    "bash": """\
eval "$(papermage completion bash)"
take() { printf '%s\\n' "$READLINE_LINE" >>taken; READLINE_LINE=; }; bind -x '"\\C-x\\C-p": take'
""",
    "zsh": """\
autoload -Uz compinit; compinit -u -D; eval "$(papermage completion zsh)"
take() { print -r -- "$BUFFER" >>taken; BUFFER=; }; zle -N take; bindkey '^X^P' take
""",
    "fish": """\
papermage completion fish | source
function take; commandline >>taken; commandline ''; end; bind \\cx\\cp take
""",
}
ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
LINES = {
    "papermage tr": "papermage train",
    "papermage-train head=cr": "papermage-train head=crf",
    "papermage-train head=crf head.drop": "papermage-train head=crf head.dropout=",
    "papermage-train data_path=my\\ o": "papermage-train data_path=my\\ one.jsonl",
    "papermage-train 'data_path=my o": "papermage-train 'data_path=my one.jsonl",
    "true; A=1 papermage-train head=cr": "true; A=1 papermage-train head=crf",
}


class Terminal:
    """A shell that believes somebody types."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.taken = folder / "taken"
        self.taken.touch()
        self.handle, other = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        environment["PAPERMAGE_CACHE_DIR"] = str(folder.parent / "cache")  # one for all shells
        environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
        command = [sys.executable, "-c", ON_A_TERMINAL, *COMMAND[shell]]
        self.process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, cwd=folder, env=environment)
        os.close(other)
        os.write(self.handle, SET_UP[shell].encode())

    def after_tab(self, line: str) -> str:
        """Type a line and the Tab key; return what then stands there."""
        before = self.taken.stat().st_size
        os.write(self.handle, f"{line}\t\x18\x10".encode())
        shown = b""
        while self.taken.stat().st_size == before:
            ready, _, _ = select.select([self.handle], [], [], 60)
            assert ready, f"the shell is silent after {shown.decode(errors='replace')!r}"
            shown += os.read(self.handle, 1 << 16)
        return self.taken.read_text(encoding="utf-8").splitlines()[-1]

    def close(self) -> None:
        """End the shell."""
        self.process.kill()
        self.process.wait()
        os.close(self.handle)


@pytest.fixture(params=list(COMMAND))
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    """A shell with the commands of this installation, in a folder with a file."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "my one.jsonl").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "papermage").write_text(f'#!/bin/sh\nexec {sys.executable} -m papermage_core.cli.main "$@"\n')
    (tmp_path / "bin" / "papermage").chmod(0o755)
    opened = Terminal(request.param, tmp_path)
    yield opened
    opened.close()


def test_a_line_goes_on_as_it_should(terminal: Terminal) -> None:
    found = {line: terminal.after_tab(line) for line in LINES}
    assert {line: text.rstrip(" '") for line, text in found.items()} == LINES  # some close the quote
    assert found["papermage tr"].endswith(" ")
    assert not found["papermage-train head=crf head.drop"].endswith(" ")
