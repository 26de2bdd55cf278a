"""A browser without a window, driven over a pipe by Chrome's DevTools protocol: nothing to install but chromium."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
_TOLD = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Network.requestWillBeSent")


class Browser:
    """One page. `errors` is what its console said, `requests` what it asked for."""

    def __init__(self, writing: Any, reading: Any) -> None:
        self._write, self._read = writing, reading
        self._told = b""
        """What it said and nobody has read yet."""
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.errors: list[Any] = []
        self.requests: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, place: str = "", *, width: int = 1300, height: int = 900, dark: bool = False) -> None:
        """Open a file, and wait until it is loaded."""
        self.errors.clear()
        self.requests.clear()
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **sizes)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=path.as_uri() + place)
        while self.run("document.readyState !== 'complete' || location.protocol === 'about:'"):
            pass

    def run(self, script: str) -> Any:
        """Return what an expression gives; a promise is waited for."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def settle(self) -> None:
        """Wait until what was asked for is drawn: observers report after a frame."""
        self.run(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))"
        )

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self._call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def click(self, x: float, y: float) -> None:
        """Click on a point of the page."""
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def screenshot(self) -> bytes:
        """Return a picture of what is seen, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    def _call(self, method: str, **given: Any) -> Any:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                return told["result"]
            if told.get("method") == "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            elif told.get("method") in _TOLD:
                self.errors.append(told["params"])

    def _next(self) -> Any:
        while b"\0" not in self._told:
            more = self._read.read1(1 << 16)
            assert more, "the browser has gone"
            self._told += more
        found, _, self._told = self._told.partition(b"\0")
        return json.loads(found)


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Yield a browser whose files are in ``folder``; skip the test where chromium is not installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs chromium")
    (to_read, write), (read, to_write) = os.pipe(), os.pipe()
    # the browser reads from 3 and writes to 4
    start = "import os, sys; from fcntl import *; a, b = (fcntl(int(i), F_DUPFD, 9) for i in sys.argv[1:3]);"
    start += "os.dup2(a, 3); os.dup2(b, 4);"
    launcher = [sys.executable, "-c", f"{start} os.execv(sys.argv[3], sys.argv[3:])", str(to_read), str(to_write)]
    arguments = [*launcher, program, f"--user-data-dir={folder}", *_FLAGS]
    with (
        os.fdopen(write, "wb", 0) as writing,
        os.fdopen(read, "rb") as reading,
        subprocess.Popen(
            arguments,
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        ) as process,
    ):
        os.close(to_read)
        os.close(to_write)
        try:
            yield Browser(writing, reading)
        finally:
            process.kill()
