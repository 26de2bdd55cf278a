"""A second process that reads half of the pages of a document, since PDFium is used by one thread at a time."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from papermage_formats.pdf_file import FAILURES, PdfFile
from papermage_formats.pdf_pages import PageTokens, page_tokens
from papermage_processors.tokenizing import Style

__all__ = ["SecondReader", "second_reader", "serve"]

_FEW = 8
"""Pages of a document that are not worth dividing."""
_MANY = 200
"""Pages after which a second process, which takes as long to start as 50 pages to read, is worth it."""
_STARTS = 3
"""How often it is started: what stops it once may stop it always."""
_START = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from papermage_formats.pdf_second import serve
serve()"""


class SecondReader:
    """The process, which ends with this one. It is asked for one thing at a time."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what is typed to stop this process is not for that one
        )
        atexit.register(self.stop)

    def ask(self, path: Path, password: str | None, style: Style, numbers: Sequence[int]) -> bool:
        """Ask for the tokens of pages; say whether the process is there."""
        assert self._process.stdin is not None
        try:
            pickle.dump((str(path.absolute()), password, style, numbers), self._process.stdin)
            self._process.stdin.flush()
        except OSError:
            self.stop()
            return False
        return True

    def answer(self) -> list[PageTokens | str] | None:
        """Return the tokens of each page, or why it cannot be read; None if the process is gone."""
        assert self._process.stdout is not None
        try:
            found: list[PageTokens | str] = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.stop()
            return None
        return found

    def stop(self) -> None:
        """End the process; it is not asked again."""
        global _second
        _second = None if _second is self else _second
        if self.owner != os.getpid():
            return
        atexit.unregister(self.stop)
        with contextlib.suppress(OSError), self._process as process:
            process.kill()


_second: SecondReader | None = None
_pages_read = _started = 0


def second_reader(pages: int) -> SecondReader | None:
    """Return the second process for a document of so many pages; None if it is not worth it, or there is one core."""
    global _second, _pages_read, _started
    _pages_read += pages
    alone = parent_process() is None  # a process that another one has started is one of several that read
    python = sys.executable and not getattr(sys, "frozen", False)
    if pages < _FEW or _pages_read < _MANY or not (alone and python) or _cores() < 2:
        return None
    if _second is None and _started < _STARTS:
        _started += 1
        try:
            _second = SecondReader()
        except OSError:
            return None
    # that of a process that was forked is its parent's
    return _second if _second is not None and _second.owner == os.getpid() else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve() -> None:
    """Answer what is asked on standard input, until it ends."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever libraries print is no answer
        while True:
            try:
                asked = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            pickle.dump(_read(*asked), out, protocol=5)
            out.flush()


def _read(path: str, password: str | None, style: Style, numbers: Sequence[int]) -> list[Any]:
    found: list[PageTokens | str] = []
    with closing(PdfFile(Path(path), password)) as file:
        for number in numbers:
            try:
                with file.page(number) as page:
                    found.append(page_tokens(page, style))
            except FAILURES as exc:
                found.append(str(exc))
    return found
