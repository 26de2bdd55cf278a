"""What a shell shows at the Tab key: commands, flags, keys, components, their options, values and files.

A shell calls ``papermage complete SHELL LINE`` with the line up to the cursor. What there is to complete is kept in a
file of the cache folder until another distribution is installed: finding it out takes longer than one waits for a key.
This module imports next to nothing itself; `_completable` finds it out.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["SCRIPTS", "answer", "candidates", "split"]

SCRIPTS = {
    "bash": """\
# papermage completion bash, for ~/.bashrc: eval "$(papermage completion bash)"
_papermage() {
    local IFS=$'\\n'
    COMPREPLY=($(papermage complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o nospace -F _papermage COMMANDS""",
    "zsh": """\
# papermage completion zsh, for ~/.zshrc, after compinit: eval "$(papermage completion zsh)"
_papermage() {
    local -a found
    found=("${(@f)$(papermage complete zsh "${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -Q -U -S '' -- $found
}
compdef _papermage COMMANDS""",
    "fish": """\
# papermage completion fish, for ~/.config/fish/config.fish: papermage completion fish | source
for name in COMMANDS
    complete -c $name -f -a '(papermage complete fish (commandline -cp) 2>/dev/null)'
end""",
}
_FILES = frozenset({"-c", "--config", "--sample", "--plugins-path", "--into"})
"""Flags that a path comes after."""
_UNUSUAL = re.compile(r"[^\w./~@%+:,=-]")
_KEPT = 3600.0
"""Seconds after which what is kept is found out again: a plugin that is being worked on changes."""


def answer(arguments: Sequence[str]) -> int:
    """Print what the line that a shell gives may go on with, one a line."""
    if len(arguments) != 2 or arguments[0] not in SCRIPTS:
        return 2
    shell, line = arguments
    words, current, quoted = _read_line(line)
    for text in sorted(set(candidates(words, current, _Kept(words)))):
        print(_as_typed(text, current, quoted, shell))
    return 0


def split(line: str) -> tuple[list[str], str]:
    """Return the words of a line that are complete, and the one at its end, without quotes.

    >>> split("papermage train head=cr"), split("papermage-train 'data_path=my f")
    ((['papermage', 'train'], 'head=cr'), (['papermage-train'], 'data_path=my f'))
    """
    return _read_line(line)[:2]


def _read_line(line: str) -> tuple[list[str], str, int | None]:
    """Return the words that are complete, the one at the end, and where in it quotes begin that are still open."""
    words: list[str] = []
    word, quote, quoted, begun, escaped = "", "", 0, False, False
    for sign in line:
        if escaped or (quote and sign != quote):
            word, escaped = word + sign, False
        elif sign == "\\":
            begun = escaped = True
        elif sign in "\"'":
            quote, quoted, begun = ("" if quote else sign), len(word), True
        elif not sign.isspace():
            word, begun = word + sign, True
        elif begun:
            words.append(word)
            word, begun = "", False
    return words, word, quoted if quote else None


def _as_typed(text: str, current: str, quoted: int | None, shell: str) -> str:
    """Return a candidate as the shell wants it: bash takes what stands before = and : for words of their own."""
    if shell == "fish":
        return text
    if shell == "bash":
        signs = [sign for sign in os.environ.get("COMP_WORDBREAKS", "=:") if sign in "=:"]
        text = text[1 + max((current.rfind(sign, 0, quoted) for sign in signs), default=-1) :]
    if quoted is not None:
        return text
    return _UNUSUAL.sub(r"\\\g<0>", text) + ("" if text.endswith(("=", "/", ".", ",")) else " ")


def candidates(words: Sequence[str], current: str, known: Any) -> Iterator[str]:
    """Yield what a word may become after others; ``known`` gives what there is, as `_completable.Completable` does."""
    name, *rest = words or [""]
    name = os.path.basename(name).removesuffix(".exe")  # noqa: PTH119 - pathlib takes long to import
    if name == "papermage":
        if not rest:
            yield from _beginning(current, [*known.commands(), "completion", "--help", "--version"])
            return
        name, *rest = rest
        if name == "completion":
            yield from _beginning(current, SCRIPTS if not rest else ())
            return
    command = known.command(name.removeprefix("papermage-"))
    subcommands = command.get("subcommands", {})
    chosen = next((word for word in rest if word in subcommands), None)
    if subcommands and chosen is None:
        yield from _beginning(current, [*subcommands, *command["flags"]])
        return
    command = subcommands.get(chosen, command)
    before = rest[-1] if rest else ""
    if before in command.get("after", {}):
        yield from _beginning(current, command["after"][before])
    elif before in _FILES:
        yield from _paths(current)
    elif current.startswith("-"):
        yield from _beginning(current, command["flags"])
    elif "=" in current:
        yield from _values(rest, current, command, known)
    else:
        yield from _keys(rest, current, command, known)


def _keys(words: Sequence[str], current: str, command: Mapping[str, Any], known: Any) -> Iterator[str]:
    options = command.get("options", {})
    key, dot, _ = current.partition(".")
    if dot and key in command.get("kinds", ()):
        yield from _beginning(current, (f"{name}=" for name in _of_components(key, words, options, known)))
        if key in known.several():
            yield from _beginning(current, (f"{key}.{name}." for name in _chosen(key, words, options)))
        return
    yield from _beginning(current, (f"{name}=" for name in options))
    if current:
        yield from _beginning(current, (f"{kind}." for kind in command.get("kinds", ())))
    if command.get("names") and not [word for word in words[1:] if not word.startswith("-")]:
        yield from _beginning(current, known.all_names())
    if command.get("paths"):
        yield from _paths(current)


def _values(words: Sequence[str], current: str, command: Mapping[str, Any], known: Any) -> Iterator[str]:
    key, _, value = current.partition("=")
    options = command.get("options", {})
    own = options if "." not in key else _of_components(key.partition(".")[0], words, options, known)
    if key not in own and command.get("names"):
        yield from (f"{key}={name}" for name in known.names(key) if name.startswith(value))
        return
    found = own.get(key, {})
    begin, comma, last = value.rpartition(",") if found.get("list") else ("", "", value)
    begin = f"{key}={begin}{comma}"
    if found.get("files"):
        yield from _paths(last, begin)
    names = known.names(key) if key in command.get("kinds", ()) else found.get("values", ())
    yield from (f"{begin}{name}" for name in names if name.startswith(last))


def _of_components(key: str, words: Sequence[str], options: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Return the options of the components that the words choose for a key, by what is typed: ``head.dropout``."""
    found: dict[str, Any] = {}
    bare = [] if options else [word for word in words if key in known.kinds_of(word)]
    for name in _chosen(key, words, options) or bare:
        begin = f"{key}.{name}." if key in known.several() else f"{key}."
        found |= {f"{begin}{option}": value for option, value in known.options(key, name).items()}
    return found


def _chosen(key: str, words: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the names of the components that the words choose for a key, else the default one."""
    typed = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
    model = any(word.startswith("model_name_or_path=") for word in words)
    default = "hf" if key == "encoder" and model else options.get(key, {}).get("default") or ""
    return list(filter(None, (typed[-1] if typed else default).split(",")))


def _beginning(current: str, names: Any) -> Iterator[str]:
    return (name for name in names if name.startswith(current))


def _paths(current: str, before: str = "") -> Iterator[str]:
    """Yield the files and folders whose path begins so."""
    folder, slash, begin = current.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(f"{folder}{slash}") or ".") as entries:  # noqa: PTH111
            for entry in entries:
                if entry.name.startswith(begin) and (begin or not entry.name.startswith(".")):
                    yield f"{before}{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
    except OSError:
        return


class _Kept:
    """What there is to complete, as it was found out before; what is not there is found out, and kept."""

    def __init__(self, words: Sequence[str]) -> None:
        self._plugins = [word.partition("=")[2] for word in words if word.startswith("plugins_path=")]
        self._found: dict[str, Any] = {} if self._plugins else _read()
        self._completable: Any = None

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._get(name, *arguments)

    def _get(self, what: str, *arguments: str) -> Any:
        key = " ".join([what, *arguments])
        if key not in self._found:
            if self._completable is None:
                from papermage_core.cli._completable import Completable

                self._completable = Completable(self._plugins)
            self._found[key] = getattr(self._completable, what)(*arguments)
            if not self._plugins:
                _write(self._found)
        return self._found[key]


def _file() -> str:
    folder = os.environ.get("PAPERMAGE_CACHE_DIR") or os.path.join(os.path.expanduser("~"), ".cache", "papermage")  # noqa: PTH111, PTH118
    return os.path.join(folder, "completion.json")  # noqa: PTH118


def _signature() -> list[Any]:
    """Return what changes when a distribution is installed, or a command of ours is changed."""
    places = [*sys.path, os.path.dirname(__file__)]  # noqa: PTH120
    times = [os.stat(place).st_mtime_ns for place in places if os.path.isdir(place)]  # noqa: PTH112, PTH116
    return [sys.version, *places, *times, os.environ.get("PAPERMAGE_BLOCK_PLUGINS", "")]


def _read() -> dict[str, Any]:
    try:
        with open(_file(), encoding="utf-8") as file:  # noqa: PTH123
            kept = json.load(file)
        fresh = kept["signature"] == _signature() and 0 <= time.time() - kept["time"] < _KEPT
        return dict(kept["found"]) if fresh else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _write(found: Mapping[str, Any]) -> None:
    path = _file()
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        new = f"{path}.{os.getpid()}"
        with open(new, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({"signature": _signature(), "time": time.time(), "found": found}, file)
        os.replace(new, path)  # noqa: PTH105
    except OSError:
        return  # a folder that cannot be written to: it takes longer, and that is all
