"""Programs in processes of their own that need not import torch anew: each is a fork of one that has."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["run_warm"]

_MODULES = ("torch", "transformers.modeling_utils", "papermage_core.checkpoint", "papermage_core.model.entity_model")
_SERVER = """
import contextlib, gc, importlib, json, os, sys, traceback
gc.disable()
for module in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(module)
gc.freeze()
gc.enable()
for line in sys.stdin:
    case = json.loads(line)
    process = os.fork()
    if process == 0:
        for number, name in enumerate(["stdin", "stdout", "stderr"]):
            os.dup2(os.open(case[name], os.O_RDONLY if number == 0 else os.O_WRONLY), number)
        sys.stdin = open(0, closefd=False)
        os.environ.clear()
        os.environ.update(case["environment"])
        os.chdir(case["folder"])
        sys.argv = ["-c", *case["arguments"]]
        code = 0
        try:
            exec(compile(case["code"], "<string>", "exec"), {"__name__": "__main__"})
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
            if code and code != exit.code:
                print(exit.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@functools.cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", _SERVER, *_MODULES]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        server.kill()
        server.communicate()

    atexit.register(end)
    return server


def run_warm(
    code: str,
    *arguments: str,
    given: str = "",
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program as ``python -c CODE`` would, in a process where torch and what models need are imported already."""
    with tempfile.TemporaryDirectory() as name:
        files = {stream: Path(name, stream) for stream in ("stdin", "stdout", "stderr")}
        for file in files.values():
            file.write_text(given if file.name == "stdin" else "", encoding="utf-8")
        case = {stream: str(file) for stream, file in files.items()}
        environment = dict(os.environ if environment is None else environment)
        case |= {"code": code, "arguments": arguments, "folder": str(Path.cwd()), "environment": environment}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(case) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        out, err = (files[stream].read_text(encoding="utf-8") for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess(list(arguments), status, out, err)
