"""``papermage``: every command by one name, ``papermage train …``, and what makes a shell complete them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial

__all__ = ["commands", "data", "evaluate", "export", "main", "plugins", "predict", "pretrain", "serve", "train", "tune"]

_PREFIX = "papermage-"
_USAGE = "usage: papermage [-h] [--version] COMMAND ..."
_COMPLETION = "print what makes a shell complete all of this: papermage completion bash|zsh|fish"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    word, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if word == "complete":  # asked by a shell at each key: nothing else is imported
        from papermage_core.cli._complete import answer

        return answer(rest)
    known = commands()
    if word.removeprefix(_PREFIX) in known:
        return _run(word.removeprefix(_PREFIX), rest)
    try:
        code = _own(word, rest, known)
        sys.stdout.flush()
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc, BrokenPipeError):  # then whoever read it has seen enough
            print(f"papermage: standard output: {exc.strerror}", file=sys.stderr)
        return 1
    return code


def _run(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command, whose modules Ctrl-C may find half imported."""
    from importlib import import_module

    try:
        from papermage_core.cli._signals import interrupts_kept

        with interrupts_kept():
            code: int = import_module(f"papermage_core.cli.{name}").main(argv)
        return code
    except KeyboardInterrupt:
        print(f"{_PREFIX}{name}: interrupted", file=sys.stderr)
        return 130


train = partial(_run, "train")
tune = partial(_run, "tune")
pretrain = partial(_run, "pretrain")
evaluate = partial(_run, "evaluate")
predict = partial(_run, "predict")
serve = partial(_run, "serve")
export = partial(_run, "export")
data = partial(_run, "data")
plugins = partial(_run, "plugins")


def _own(word: str, rest: Sequence[str], known: Sequence[str]) -> int:
    if word in ("-h", "--help", "help"):
        print(_help(known))
    elif word == "--version":
        from importlib import metadata

        print(f"papermage_core {metadata.version('papermage_core')}")
    elif word == "completion":
        return _completion(rest, known)
    else:
        from papermage_core.errors import nearest

        hint = nearest(word, [*known, "completion"])
        return _wrong(f"{word!r} is no command; known: {', '.join([*known, 'completion'])}.{hint}")
    return 0


def commands() -> list[str]:
    """Return the names of the commands that are installed with papermage_core."""
    from importlib import metadata

    points = metadata.distribution("papermage_core").entry_points
    mine = [point.name for point in points if point.group == "console_scripts"]
    return [name.removeprefix(_PREFIX) for name in mine if name.startswith(_PREFIX)]


def _help(known: Iterable[str]) -> str:
    lines = [f"  {name:12} {_summary(name)}" for name in known]
    return "\n".join(
        [
            _USAGE,
            "\nTrain and run entity predictors over scientific documents.\n",
            "commands, each also by a name of its own such as papermage-train:",
            *lines,
            f"  {'completion':12} {_COMPLETION}",
            "\npapermage COMMAND --help says more of one",
        ]
    )


def _summary(name: str) -> str:
    """Return the first line of the docstring of a command's module, without importing the module."""
    import ast
    from pathlib import Path

    source = Path(__file__).with_name(f"{name}.py").read_bytes()
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return first.partition(": ")[2].rstrip(".").replace("`", "")


def _completion(words: Sequence[str], known: Iterable[str]) -> int:
    from papermage_core.cli._complete import SCRIPTS

    if list(words) in (["-h"], ["--help"]):
        uses = [script.partition("\n")[0].removeprefix("# papermage completion ") for script in SCRIPTS.values()]
        print(_COMPLETION, *(f"  {use}" for use in uses), sep="\n")
        return 0
    if len(words) != 1 or words[0] not in SCRIPTS:
        return _wrong(f"completion: expected one of {', '.join(SCRIPTS)}")
    print(SCRIPTS[words[0]].replace("COMMANDS", " ".join(["papermage", *(f"{_PREFIX}{name}" for name in known)])))
    return 0


def _wrong(message: str) -> int:
    print(f"{_USAGE}\npapermage: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
