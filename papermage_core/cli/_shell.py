"""What every command shares: flags, logging, and how a failure becomes a message and an exit code.

    def main(argv=None):
        parser = command_parser("papermage-thing", "Do the thing.")
        parser.add_argument("path", type=Path)
        arguments = parser.parse_args(argv)
        return run(lambda: body(arguments), debug=arguments.debug, quiet=arguments.quiet)

Nothing here imports torch; a body imports what is heavy itself.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

from papermage_core.cli._signals import Terminated, finish, terminable
from papermage_core.errors import ConfigError, PapermageError, StoppedError, nearest
from papermage_core.files.outputs import naming_stdout
from papermage_core.plugin.blame import blaming
from papermage_core.plugin.distributions import passing_over_malformed_entry_points
from papermage_core.plugin.printing import keeping, showing
from papermage_core.terminal import printable

__all__ = ["add_common_flags", "check_flags", "command_parser", "parse_words", "run", "say", "say_in_colour"]

INTERRUPTED = 130
TERMINATED = 143
_OURS = (
    *("papermage_core", "papermage_compact", "papermage_formats", "papermage_heads"),
    *("papermage_processors", "papermage_records", "papermage_schemes", "papermage_transformers", "papermage_stack"),
    *("papermage_optimizers", "papermage_metrics", "papermage_extensions"),
)
"""The packages whose messages are shown from INFO on, as those of plugins are that a run names; of others, warnings."""

_HINTS = {
    errno.ENOSPC: "The disk is full: free some space, or name a folder on another disk.",
    errno.EDQUOT: "The disk quota is used up: free some space, or name a folder on another disk.",
    errno.EACCES: "Permission is missing: choose a folder or file of your own, or ask for access.",
    errno.EPERM: "Permission is missing: choose a folder or file of your own, or ask for access.",
    errno.EROFS: "The file system can only be read: choose another folder.",
}


def command_parser(
    prog: str, description: str, *, epilog: str | None = None, add_help: bool = True
) -> argparse.ArgumentParser:
    """Return a parser that has the flags of every command; wrong usage leaves with exit code 2."""
    parser = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=add_help,
    )
    add_common_flags(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave; the message may hold what was typed."""
        super().exit(status, None if message is None else printable(message))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices, such as a command that is misspelt, and name the nearest."""
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            near = nearest(str(value), known)
            what = f"invalid choice: {value!r} (choose from {', '.join(known)}){near and f'.{near}'}"
            raise argparse.ArgumentError(action, what)


def add_common_flags(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Add ``--debug``, ``-q`` and ``--version``; ``again`` to a subcommand, which keeps what was given before it."""
    default: Any = argparse.SUPPRESS if again else False
    parser.add_argument("--debug", action="store_true", default=default, help="show tracebacks and debug messages")
    parser.add_argument("-q", "--quiet", action="store_true", default=default, help="show results and errors only")
    parser.add_argument("--version", action="version", version=f"papermage_core {metadata.version('papermage_core')}")


def parse_words(parser: argparse.ArgumentParser, argv: Sequence[str] | None, name: str) -> argparse.Namespace:
    """Return the arguments of a command whose last are the words ``name``: those after a flag join those before it.

    argparse alone refuses words on both sides of a flag.
    """
    arguments, rest = parser.parse_known_args(argv)
    strange = [word for word in rest if word.startswith("-") and word != "-"]
    if strange or (rest and not hasattr(arguments, name)):
        near = nearest(strange[0].partition("=")[0], _flags(parser)) if strange else ""
        parser.error(f"unrecognized arguments: {' '.join(strange or rest)}{near and f'.{near}'}")
    if rest:
        setattr(arguments, name, [*getattr(arguments, name), *rest])
    return arguments


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """Return the flags of a parser and of its subcommands."""
    found = [flag for action in parser._actions for flag in action.option_strings]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += (flag for each in action.choices.values() for flag in _flags(each))
    return list(dict.fromkeys(found))


def check_flags(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    """Raise ConfigError for a flag that was typed as a word or an option: ``strict``, ``dry_run=true``."""
    for word in words:
        name = word.partition("=")[0].replace("-", "_")
        if isinstance(getattr(arguments, name, None), bool) and not os.path.lexists(word):
            raise ConfigError(f"{word}: {name.replace('_', '-')} is a flag; type --{name.replace('_', '-')}")


def run(body: Callable[[], int | None], *, debug: bool = False, quiet: bool = False, prog: str | None = None) -> int:
    """Return the exit code of ``body``, whose exceptions become messages on stderr.

    A body that returns None is done: 0. See `papermage_core.errors` for the other codes.
    """
    prog = prog or os.path.basename(sys.argv[0]) or "papermage"  # noqa: PTH119 - argv[0] is not always a path
    levels = {logger: logger.level for logger in map(logging.getLogger, _OURS)}
    level = _set_up_logging(debug=debug, quiet=quiet)

    def show(name: str) -> None:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:  # else its author has chosen
            levels[logger] = logger.level
            logger.setLevel(level)

    if "torch" not in sys.modules:  # OpenMP's threads spin while they wait: on a busy machine, ten times as slow
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    former, former_showing = keeping.set(_off_stdout), showing.set(show)
    try:
        with _said_once(_VERSIONS), terminable(), passing_over_malformed_entry_points(), blaming():
            code = body() or 0
            finish()
        with naming_stdout():
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        _abandon_stdout()
        return 1
    except Terminated:
        _say_error(f"{prog}: stopped by SIGTERM")
        return TERMINATED
    except KeyboardInterrupt:
        _say_error(f"{prog}: interrupted")
        return INTERRUPTED
    except Exception as exc:
        if debug:
            _say_error(traceback.format_exc().rstrip())
        _flush_or_abandon_stdout()
        _say_error(f"{prog}: {_message(exc)}")
        if isinstance(exc, PapermageError) and not isinstance(exc, StoppedError) and not quiet:
            _say_error(f"more on this: {exc.help}")  # what was stopped says last what to type
        return exc.exit_code if isinstance(exc, PapermageError) else 1
    finally:
        keeping.reset(former)
        showing.reset(former_showing)
        for logger, level in levels.items():
            logger.setLevel(level)


_VERSIONS = "papermage_core.plugin.manager"
"""Who tells of components of another version: whenever a checkpoint is read, and a command may read one twice."""


@contextlib.contextmanager
def _said_once(name: str) -> Iterator[None]:
    """Pass over what a logger says again word for word while the block runs."""
    said: set[str] = set()

    def passes(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in said
        said.add(message)
        return is_new

    logger = logging.getLogger(name)
    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)


@contextlib.contextmanager
def _off_stdout() -> Iterator[Callable[[], str]]:
    """Keep off the standard output what is printed, or written to its descriptor; what is given returns it."""
    if sys.stdout is not None:
        sys.stdout.flush()
    kept = io.TextIOWrapper(io.BytesIO(), "utf-8", "replace", write_through=True)
    written = bytearray()
    with contextlib.redirect_stdout(kept), _off_descriptor(written):
        yield lambda: (kept.buffer.getvalue() + written).decode("utf-8", "replace")


@contextlib.contextmanager
def _off_descriptor(written: bytearray) -> Iterator[None]:
    """Keep off descriptor 1 what is written there, past Python's stream; ``written`` holds it afterwards."""
    try:
        stdout = os.dup(1)
    except OSError:  # closed by who started us
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
            file.seek(0)
            written += file.read()


def say(text: str) -> None:
    """Print a result. What only accompanies it belongs into ``logging``, which ``-q`` silences."""
    say_in_colour(printable(text))


def say_in_colour(text: str) -> None:
    """Print a result that has escapes of ours; each part of it that is not ours has been made `printable`."""
    with naming_stdout():
        print(text, flush=True)


def _say_error(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _message(exc: Exception) -> str:
    if isinstance(exc, ConfigError) and len(exc.errors) > 1:
        told = [f"{len(exc.errors)} errors in the configuration", *(f"  - {error}" for error in exc.errors)]
        return "\n".join([*told, *([exc.advice] if exc.advice else [])])
    if isinstance(exc, PapermageError):
        return str(exc)
    if isinstance(exc, OSError):
        return _os_message(exc)
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError":
        return f"out of memory: {exc}\nTry a smaller batch_size, or a smaller encoder."
    return f"unexpected {type(exc).__name__}: {exc}\nRun again with --debug for the traceback."


def _os_message(exc: OSError) -> str:
    place = f"{os.fspath(exc.filename)}: " if isinstance(exc.filename, (str, os.PathLike)) else ""
    hint = _HINTS.get(exc.errno) if exc.errno is not None else None
    return "\n".join(filter(None, [f"{place}{exc.strerror or exc}", hint]))


def _flush_or_abandon_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _abandon_stdout()


def _abandon_stdout() -> None:
    """Send what is still buffered nowhere: flushing it at exit would fail a second time."""
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


def _set_up_logging(*, debug: bool, quiet: bool) -> int:
    """Show messages on stderr; return the level from which on those of ours are."""
    level = logging.DEBUG if debug else logging.ERROR if quiet else logging.INFO
    handler = _Handler()
    handler.setFormatter(_Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING))
    for package in _OURS:
        logging.getLogger(package).setLevel(level)
    return level


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:  # until Python 3.11 it takes no brackets
    _StreamHandler = logging.StreamHandler


class _Handler(_StreamHandler):
    """Writes to what the standard error is at the time: while a bar is shown, that is above the bar."""

    @property
    def stream(self) -> Any:
        """Return the standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        """Take none other."""


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a line that is safe to print, whoever logs it."""
        return printable(super().format(record))
