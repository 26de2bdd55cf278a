"""``papermage``: every command by one name, ``papermage train …``, and what makes a shell complete them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

__all__ = ["commands", "main"]

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
        import pkgutil

        code: int = pkgutil.resolve_name(known[word.removeprefix(_PREFIX)])(rest)
        return code
    try:
        code = _own(word, rest, known)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _own(word: str, rest: Sequence[str], known: Mapping[str, str]) -> int:
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


def commands() -> Mapping[str, str]:
    """Return the commands that are installed with papermage_core, name → ``module:function``."""
    from importlib import metadata

    points = metadata.distribution("papermage_core").entry_points
    mine = {point.name: point.value for point in points if point.group == "console_scripts"}
    return {name.removeprefix(_PREFIX): value for name, value in mine.items() if name.startswith(_PREFIX)}


def _help(known: Mapping[str, str]) -> str:
    lines = [f"  {name:12} {_summary(value)}" for name, value in known.items()]
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


def _summary(value: str) -> str:
    """Return the first line of a module's docstring, without importing the module."""
    import ast
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec(value.partition(":")[0])
    source = Path(spec.origin).read_bytes() if spec is not None and spec.origin else b""
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return first.partition(": ")[2].rstrip(".").replace("`", "")


def _completion(words: Sequence[str], known: Mapping[str, str]) -> int:
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
