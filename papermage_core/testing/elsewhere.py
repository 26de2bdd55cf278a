"""Call a function in a process of its own, and write down all that happens.

Strings have other hashes there, and the clock is a year ahead.

One process of Python waits, with torch imported, and forks itself for each call; where there is no fork, a new one is
started each time.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import importlib.util
import inspect
import json
import logging
import os
import pickle
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import attrs

from papermage_core.plugin.endings import Endings
from papermage_core.plugin.manager import Plugins
from papermage_core.testing.clock import set_ahead
from papermage_core.testing.filters import filters_of_imports
from papermage_core.testing.printed import printed
from papermage_core.testing.process_state import changes, new_files, process_state

__all__ = ["ComponentReference", "Report", "call_elsewhere", "own_place"]

_KIT = str(Path(__file__).parent)
_SEED = 20_241
_HEAVY = ("transformers", "numba", "pyarrow", "PIL")
"""Dependencies of papermage_core that take long to import: done once, before the fork, where they are of use."""
_PASSED_ON = ("PAPERMAGE_", "HF_", "HOME", "TMPDIR", "XDG_")
"""Variables whose present values hold in the other process, too; others have those that the first process began with,
so that a component that sets one is found out."""
_START = "from papermage_core.testing.elsewhere import serve; serve()"
_ALWAYS = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", sys.prefix, sys.base_prefix, sys.exec_prefix)


@attrs.frozen(kw_only=True)
class ComponentReference:
    """Where another process finds the component under test."""

    kind: str
    name: str
    paths: tuple[str, ...] = ()
    """Files of plugins."""
    source: tuple[str, str, str] | None = None
    """File, module and name of the config class (or of a module of hooks, with an empty name), if not installed."""

    @classmethod
    def of_object(cls, kind: str, given: Any) -> ComponentReference | None:
        """Return the reference to a class, or to a module with hooks; None for what no other process can import."""
        module, name = (given, "") if isinstance(given, ModuleType) else (inspect.getmodule(given), given.__qualname__)
        file = getattr(module, "__file__", None)
        if module is None or file is None or not Path(file).is_file() or "<locals>" in name:
            return None
        return cls(kind=kind, name=name or module.__name__, source=(file, module.__name__, name))

    def plugins(self) -> Plugins:
        """Return where the component is looked for."""
        return Plugins([Path(path) for path in self.paths])

    def found(self) -> Any:
        """Return the config class, or the module of hooks, in the process where this is called."""
        if self.source is None:
            return self.plugins().config_class(self.kind, self.name)
        module = load_module(*self.source[:2])
        return pkgutil.resolve_name(f"{module.__name__}:{self.source[2]}") if self.source[2] else module


def load_module(file: str, name: str) -> ModuleType:
    """Return the module of this name, from its file where it cannot be imported."""
    if name in sys.modules:
        return sys.modules[name]
    with contextlib.suppress(ImportError):
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) == file:
            return module
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@attrs.frozen(kw_only=True)
class Report:
    """What became of a call in another process."""

    value: Any = None
    error: str = ""
    """The exception that ended it, with its place."""
    printed: str = ""
    changed: Sequence[str] = ()
    """What of the process is not as it was before the component was imported."""
    encodings: Sequence[str] = ()
    """Places of the component where a text file is opened in the encoding of the locale."""
    unclosed: Sequence[str] = ()
    logged: Mapping[str, int] = attrs.field(factory=dict)
    """Place in the component → how often it logged a warning there."""
    opened: Sequence[str] = ()
    """Files that were read, and are neither the component's code nor among those that it may read."""
    written: Sequence[str] = ()
    """Files that were left in the working folder."""


def call_elsewhere(
    function: str,
    *arguments: Any,
    own: str = "",
    may_read: Sequence[Path] = (),
    beside: Sequence[Path] = (),
) -> Report:
    """Return what ``module:function`` gives in another process; arguments and result are pickled.

    ``own`` is the file or folder of the component's code, ``may_read`` names files and folders that it may read.
    The working folder there holds copies of the files ``beside``, which may be read too, and nothing else.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "work").mkdir()
        for path in beside:
            copy = folder / "work" / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        (folder / "arguments").write_bytes(pickle.dumps(arguments))
        request = {
            "function": function,
            "import": [name for name in _HEAVY if name in sys.modules],
            "folder": str(folder),
            "own": own,
            "may_read": [str(path.resolve()) for path in may_read],
            "path": [str(Path(entry).absolute()) for entry in sys.path],
            "environment": {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)},
        }
        said = _server().ask(request)
        answer = folder / "answer"
        if not answer.exists():
            return Report(error=f"the process ended: {said or 'no word on why'}")
        return pickle.loads(answer.read_bytes())  # type: ignore[no-any-return]  # written by ourselves


class _Server:
    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any]) -> str:
        """Have a request done; return what was said on standard error where nothing came of it."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().decode("utf-8", "replace").strip()

    def _start(self) -> subprocess.Popen[bytes]:
        seed = str(_SEED + (os.environ.get("PYTHONHASHSEED") == str(_SEED)))
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONWARNDEFAULTENCODING": "1",
            "PYTHONUTF8": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_NUM_THREADS": "1",  # threads do not live on in a fork
        }
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        atexit.register(_stop, process)
        return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    process.wait()


@functools.cache
def _server() -> _Server:
    return _Server()


def serve() -> None:
    """Answer requests on standard input until it ends. What the process of `call_elsewhere` runs."""
    gc.disable()  # of what is imported nothing goes again
    import torch

    import papermage_core.prediction
    import papermage_core.testing.probes
    import papermage_core.training.trainer  # noqa: F401 - with Lightning; imported before anything forks

    importlib.import_module("torch._dynamo")  # the first step of an optimizer would, and that changes the process
    torch.set_num_threads(1)
    _look_around()
    gc.freeze()
    gc.enable()
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for line in requests:
        request = json.loads(line)
        for name in request["import"]:
            if name not in sys.modules:
                importlib.import_module(name)
                if name == "numba":
                    sys.modules[name].njit(lambda: 0)()  # what it sets up when it compiles first takes long, too
                gc.freeze()
        if not hasattr(os, "fork"):
            _answer(request)
            return
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _answer(request)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        replies.write(f"{'' if status == 0 else f'exit status {os.waitstatus_to_exitcode(status)}'}\n".encode())
        replies.flush()


def _look_around() -> None:
    """Have read what is kept of installed plugins, so that it is not read again in each fork."""
    plugins = Plugins()
    for kind in ("document_reader", "document_writer"):
        Endings(plugins, kind).all()


def _answer(request: Mapping[str, Any]) -> None:
    folder = Path(request["folder"])
    work = folder / "work"
    os.chdir(work)
    os.environ.update(request["environment"])
    sys.path[:] = request["path"]
    importlib.invalidate_caches()
    arguments = pickle.loads((folder / "arguments").read_bytes())  # written by `call_elsewhere`
    value, error = None, ""
    set_ahead()
    before = process_state()
    held = new_files(work)
    allowed = [folder / "arguments", *(work / name for name in held), *map(Path, request["may_read"])]
    watch = _Watch(allowed, request["own"])
    sys.addaudithook(watch)
    finalizers = _at_exit_so_far()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", EncodingWarning)
        warnings.simplefilter("always", ResourceWarning)
        before["filters of warnings"] = list(map(str, warnings.filters))
        before["warnings.showwarning"] = id(warnings.showwarning)
        with printed() as said:
            before["sys.stdout"] = id(sys.stdout)
            with _logged(request["own"]) as logged, filters_of_imports(request["own"]) as others:
                try:
                    value = pkgutil.resolve_name(request["function"])(*arguments)
                except BaseException as exc:
                    error = described(exc)
            gc.collect()
            after = process_state()
            after["filters of warnings"] = [each for each in after["filters of warnings"] if each not in others]
            _exit(finalizers)
    watch.on = False
    report = Report(
        value=value,
        error=error,
        printed=said(),
        changed=[*changes(before, after), *(f"the network ({host} was asked for)" for host in watch.asked)],
        encodings=_places(seen, EncodingWarning, request["own"]),
        unclosed=_places(seen, ResourceWarning, ""),
        logged=logged,
        opened=watch.opened,
        written=[*(name for name in new_files(work) if name not in held), *watch.left()],
    )
    (folder / "answer").write_bytes(pickle.dumps(report))


@contextlib.contextmanager
def _logged(own: str) -> Iterator[dict[str, int]]:
    """Yield what counts, by its place, how often the component logs a warning or an error."""
    found: dict[str, int] = {}
    make = logging.getLogRecordFactory()

    def count(*arguments: Any, **more: Any) -> logging.LogRecord:
        record = make(*arguments, **more)
        if own and record.pathname.startswith(own) and record.levelno >= logging.WARNING:
            place = f"{record.pathname}, line {record.lineno}"
            found[place] = found.get(place, 0) + 1
        return record

    logging.setLogRecordFactory(count)
    try:
        yield found
    finally:
        logging.setLogRecordFactory(make)


def _at_exit_so_far() -> set[Any]:
    """Forget what the process would do when it ends, which belongs to others; return the finalizers among it."""
    atexit._clear()
    return set(getattr(weakref.finalize, "_registry", ()))


def _exit(others: set[Any]) -> None:
    """Do what the component does when the process ends: it may print, and clear up behind itself."""
    with contextlib.suppress(BaseException):  # Python would say what goes wrong, and end
        atexit._run_exitfuncs()
    for finalizer in set(getattr(weakref.finalize, "_registry", ())) - others:
        with contextlib.suppress(Exception):
            if finalizer.atexit:
                finalizer()


def described(exc: BaseException, own: str = "") -> str:
    """Return an exception in a line, with the last line of code that it went through, of ``own`` if there is one.

    Else of what is neither installed nor of this kit, if there is such a line.
    """
    frames = traceback.extract_tb(exc.__traceback__)
    mine = [frame for frame in frames if own and frame.filename.startswith(own)]
    mine = mine or [frame for frame in frames if not frame.filename.startswith((sys.prefix, sys.base_prefix, _KIT))]
    place = f" ({(mine or frames)[-1].filename}, line {(mine or frames)[-1].lineno})" if frames else ""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}{place}"


def _places(seen: Sequence[warnings.WarningMessage], category: type[Warning], own: str) -> list[str]:
    chosen = [each for each in seen if each.category is category]
    if category is ResourceWarning:
        return list(dict.fromkeys(str(each.message) for each in chosen if "unclosed file" in str(each.message)))
    return list(dict.fromkeys(f"{e.filename}, line {e.lineno}" for e in chosen if own and e.filename.startswith(own)))


class _Watch:
    """An audit hook that notes which files are read, and whether the network is asked for."""

    def __init__(self, allowed: Sequence[Path], own: str = "") -> None:
        self.on = True
        self.opened: list[str] = []
        self.asked: list[str] = []
        """Addresses on the network."""
        self._fine: set[str] = set()
        """Paths that were looked at and may be read."""
        self._allowed = [*_ALWAYS, *map(str, allowed)]
        self._written: set[str] = set()
        self._own = own
        self._temporary: list[str] = []
        """Temporary files and folders that the component made itself."""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo") and self.on:
            self._ask(arguments[1] if event == "socket.connect" else arguments[:2])
        if event in ("tempfile.mkdtemp", "tempfile.mkstemp") and self.on and self._is_called_by_component():
            self._temporary.append(str(arguments[0]))
        if event != "open" or not self.on:
            return
        path, mode, flags = arguments
        if not isinstance(path, (str, bytes, os.PathLike)) or (type(path) is str and path in self._fine):
            return
        self.on = False  # looking at paths must not be looked at
        try:
            name = os.path.realpath(os.fsdecode(path))
            writes = any(c in mode for c in "wax") if mode else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
            if writes:
                self._written.add(name)
                # TemporaryFile opens the folder, for a file in it that has no name
                if self._is_called_by_component() and not Path(name).is_dir():
                    self._temporary.append(name)
            elif mode is None and not Path(name).exists():
                pass  # relative to a folder that is not told, as shutil.rmtree opens them
            elif name not in self._written and name not in self.opened and not self._may(name):
                if not _is_packaged(os.fsdecode(path)):  # files of packages may be links: some installers make them
                    self.opened.append(name)
            elif type(path) is str and name == path and name not in self.opened:
                self._fine.add(path)
        finally:
            self.on = True

    def _ask(self, address: Any) -> None:
        host = str(address[0]) if isinstance(address, tuple) else ""  # a socket of this machine has a path
        if host and host not in ("localhost", "127.0.0.1", "::1") and not self.asked:
            self.asked.append(host)

    def left(self) -> list[str]:
        """Return what was written, and is there still: files that are not of a cache, and own temporary ones."""
        temporary = os.path.realpath(tempfile.gettempdir())
        files = [name for name in sorted(self._written) if not _passes(name, temporary) and Path(name).is_file()]
        work = f"{Path.cwd()}{os.sep}"  # what is new there is told anyway
        kept = (name for name in self._temporary if not name.startswith(work) and Path(name).exists())
        return list(dict.fromkeys([*files, *kept]))

    def _is_called_by_component(self) -> bool:
        frame: FrameType | None = sys._getframe(1)
        passed = (__file__, tempfile.__file__, str(Path(os.__file__).parent / "pathlib"))
        while frame is not None and frame.f_code.co_filename.startswith(passed):
            frame = frame.f_back
        return frame is not None and bool(self._own) and frame.f_code.co_filename.startswith(self._own)

    def _may(self, name: str) -> bool:
        if Path(name).is_dir() or name in sys.path:  # an entry may be no folder: that of an editable install, say
            return True
        if name.endswith((".py", ".pyc", ".so", ".pyd", ".pth")) or "__pycache__" in name:
            return True
        if any(name == root or name.startswith(root + os.sep) for root in self._allowed):
            return True
        return _is_packaged(name)


def _passes(name: str, temporary: str) -> bool:
    """Whether a file is of a kind that goes by itself, or does no harm."""
    parts = Path(name).parts
    return name.startswith((temporary + os.sep, "/dev/", "/proc/", "/sys/")) or any(
        part == "__pycache__" or part.endswith("cache") or part in (".hypothesis", ".triton") for part in parts
    )


@functools.lru_cache(maxsize=256)
def _resolved(entry: Path) -> str:
    return str(entry.resolve())


def _is_packaged(name: str) -> bool:
    return any(_in_package(Path(name), Path(entry)) for entry in sys.path if entry)


def _in_package(path: Path, entry: Path) -> bool:
    """Whether a file belongs to a package, or to the metadata of a distribution, of an entry of ``sys.path``."""
    root = _resolved(entry)
    if not str(path).startswith(root + os.sep):
        return False
    first = Path(root, path.relative_to(root).parts[0])
    return first.suffix in (".dist-info", ".egg-info") or (first / "__init__.py").exists()


def own_place(given: Any) -> str:
    """Return the file of a class's or module's code, or the folder of the package that it belongs to."""
    module = given if isinstance(given, ModuleType) else sys.modules[given.__module__]
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file = getattr(top, "__file__", None) or getattr(module, "__file__", None) or ""
    return str(Path(file).parent) + os.sep if hasattr(top, "__path__") and file else file
