"""``key=value`` arguments → a frozen attrs class of options, for commands smaller than ``papermage-train``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from papermage_core.cli._environment import machine_defaults
from papermage_core.cli._train_help import as_typed, row
from papermage_core.config.aliases import with_known_words
from papermage_core.config.by_label import ByLabel
from papermage_core.config.errors import gathered, missing, of_processors, read_given, unknown
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.config.given import COMMAND_LINE, read_overrides
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import ConfigError, DataError, counted
from papermage_core.plugin.options import describe_options

if TYPE_CHECKING:
    from papermage_core.data.readers import AnyReader, OnError

__all__ = [
    "ARITHMETICS",
    "ARITHMETIC_HELP",
    "BACKEND_HELP",
    "MODEL_MISSING",
    "ON_ERROR_HELP",
    "PLUGINS_PATH_HELP",
    "PROCESSORS_HELP",
    "READER_HELP",
    "WRITER_HELP",
    "check_model_or_recipe",
    "extension_choice",
    "options_help",
    "precisions",
    "processor_choice",
    "read_options",
    "reader_choice",
    "skippable",
    "skipping",
    "tell_passed_over",
]

T = TypeVar("T")
Choice = TypeVar("Choice", ProcessorChoice, ExtensionChoice)
_COMPONENTS = frozenset({"encoder", "head", "reader", "writer", "processors", "extensions"})
_SHOWN = 20
_log = logging.getLogger(__name__)
ARITHMETICS = ("fp32", "bf16", "int8", "auto")
ARITHMETIC_HELP = (
    "arithmetic: fp32, bf16, int8, or auto for the fastest here that finds the same in the first documents; none: as "
    "the encoder chooses"
)
BACKEND_HELP = "what runs the encoder: torch, or onnx for ONNX Runtime; none: torch, and onnx for what was exported"
MODEL_MISSING = "model_name_or_path is missing: the checkpoint folder. Type model_name_or_path=... or recipe=..."
ON_ERROR_HELP = "at a document that cannot be used: raise, or skip it and say so at the end"
PLUGINS_PATH_HELP = "plugin files to use without installing them"
PROCESSORS_HELP = "processors that add layers, in order; their options as processors.NAME.key=value"
READER_HELP = "document reader; none: by the ending of each file; its options as reader.key=value"
WRITER_HELP = "document writer; none: by the ending of output_path; its options as writer.key=value"


def read_options(cls: type[T], overrides: Sequence[str]) -> tuple[T, Callable[[str], dict[str, Any]]]:
    """Return the options, and what returns those of a component (``reader.key=value`` for ``"reader"``) by key.

    Raises ConfigError with all errors.
    """
    options = {option.name: option for option in describe_options(cls)}
    typed, bad = read_overrides(overrides)
    layers = [machine_defaults(options), typed]
    given, both = gathered(options, {item.key: item for layer in layers for item in with_known_words(layer, options)})
    of_components = {key: item.value for key, item in given.items() if _component(key) in _COMPONENTS & options.keys()}
    strange = [
        unknown(
            key,
            item.source,
            "unknown option",
            [*options, *of_processors(key)],
            _COMPONENTS & options.keys(),
        )
        for key, item in given.items()
        if key not in options and key not in of_components
    ]
    values, errors = read_given(options, given)
    errors += both
    if bad:  # one of these words may be what seems to be missing
        errors = [error for error in errors if error not in map(missing, options.values())]
    if bad or strange or errors:
        raise ConfigError(*bad, *strange, *errors)

    def options_of(component: str) -> dict[str, Any]:
        dot = f"{component}."
        return {key.removeprefix(dot): value for key, value in of_components.items() if key.startswith(dot)}

    return cls(**values), options_of


def reader_choice(options: Any, options_of: Callable[[str], dict[str, Any]]) -> ReaderChoice:
    """Return the readers that a command's options choose. Raises PluginError and ConfigError for one named wrongly."""
    own = options_of("reader")
    choice = ReaderChoice(
        name=options.reader, options=own, plugins_path=options.plugins_path, sources=_typed("reader", own)
    )
    _ = choice.named
    return choice


def tell_passed_over(paths: Sequence[str | Path], reader: AnyReader, files: Sequence[Path] | None = None) -> None:
    """Say what is given twice, and what is not read of folders; ``files`` are those read, where known already."""
    from papermage_core.data.readers import expand_paths, passed_over

    if len(paths) > 1 or any(os.path.isdir(path) for path in paths):  # noqa: PTH112 - a string may be no path
        for line in passed_over(paths, expand_paths(paths, reader=reader) if files is None else files, reader):
            _log.info("%s", line)


def processor_choice(options: Any, options_of: Callable[[str], dict[str, Any]]) -> ProcessorChoice:
    """Return the processors that a command's options choose. Raises PluginError and ConfigError for wrong ones."""
    return _choice(ProcessorChoice, "processors", options, options_of)


def extension_choice(options: Any, options_of: Callable[[str], dict[str, Any]]) -> ExtensionChoice:
    """Return the extensions that a command's options choose. Raises PluginError and ConfigError for wrong ones."""
    return _choice(ExtensionChoice, "extensions", options, options_of)


def _choice(cls: type[Choice], key: str, options: Any, options_of: Callable[[str], dict[str, Any]]) -> Choice:
    own = options_of(key)
    names, paths = getattr(options, key), options.plugins_path
    choice = cls(names=names, options=own, plugins_path=paths, sources=_typed(key, own))
    _ = choice.configs
    return choice


def check_model_or_recipe(options: Any, overrides: Sequence[str], of_a_model: Iterable[str]) -> None:
    """Raise ConfigError unless one of the two is given, and none of the options that a recipe has for its stages."""
    if options.recipe is None and options.model_name_or_path is None:
        raise ConfigError(MODEL_MISSING)
    if options.model_name_or_path == "":
        raise ConfigError("model_name_or_path is empty; type the checkpoint folder")
    if options.recipe is not None:
        if options.model_name_or_path is not None:
            raise ConfigError("recipe and model_name_or_path are both given: give one of them")
        typed = [name for name in of_a_model if any(word.startswith(f"{name}=") for word in overrides)]
        if typed:
            raise ConfigError(*(f"{name}: the recipe says it for each stage; write it there" for name in typed))


def _typed(component: str, own: Iterable[str]) -> dict[str, str]:
    return {f"{component}.{key}": COMMAND_LINE for key in own}


def precisions(words: Sequence[str], min_precision: ByLabel = None) -> tuple[ByLabel, Any]:
    """Return the share to be right, and the arithmetic, of the words of ``precision``. Raises ConfigError for others.

    The share may be given as ``min_precision``.

    >>> precisions(["int8"], 0.9), precisions(["int8", "0.9"])
    ((0.9, 'int8'), (0.9, 'int8'))
    """
    share: float | None = None
    arithmetic: str | None = None
    for word in words:
        if word in ARITHMETICS and arithmetic is None:
            arithmetic = word
        elif share is None and _is_share(word):
            share = float(word)
        else:
            raise ConfigError(
                f"precision={','.join(words)}: expected one of {', '.join(ARITHMETICS)}, got {word!r}; for a share of "
                "right entities that is guaranteed, type min_precision=0.9"
            )
    if share is not None and min_precision is not None:
        raise ConfigError(f"min_precision={min_precision} and precision={share:g} are one option: give one of them")
    return share if min_precision is None else min_precision, arithmetic


def _is_share(word: str) -> bool:
    try:
        return 0 <= float(word) <= 1
    except ValueError:
        return False


@contextmanager
def skipping(on_error: str, most: int | None = None) -> Iterator[OnError | None]:
    """Yield what passes over documents that cannot be used and says at the end which, if ``on_error`` says so.

    More than ``most``, if it is given, raise the error of the one that is too many; else the first, which says what
    passes over it.
    """
    if on_error == "raise" and most is None:
        yield _stop
        return
    skipped: list[str] = []
    count = 0

    def skip(error: DataError) -> None:
        nonlocal count
        count += 1
        if most is not None and count > most:
            raise error.replace(
                message=f"{error.message} ({counted(count, 'documents or files')}, and max_errors={most})"
            )
        if len(skipped) < _SHOWN:
            skipped.append(str(error))

    try:
        yield skip
    finally:
        if count:
            more = [f"… and {count - _SHOWN} more"] if count > _SHOWN else []
            told = f"skipped {counted(count, 'documents or files')}" if on_error == "skip" else counted(count, "errors")
            _log.warning("%s:\n  %s", told, "\n  ".join([*skipped, *more]))


def _stop(error: DataError) -> None:
    raise skippable(error)


def skippable(error: DataError) -> DataError:
    """Return the error of a document that ``on_error=skip`` would pass over, which says so."""
    message = error.message if error.message.endswith("...") else error.message.removesuffix(".")
    advice = "; ".join(filter(None, [error.advice, "on_error=skip leaves it out"]))
    return error.replace(message=f"{message}; on_error=skip leaves it out", advice=advice)


def _component(key: str) -> str | None:
    first, dot, _ = key.partition(".")
    return first if dot else None


def options_help(cls: type[Any]) -> str:
    """Return a line for each option: its name, default and help."""
    lines = []
    for found in (each for each in describe_options(cls) if each.help):
        default = "" if found.required else f"={as_typed(found.default)}"
        lines.append(row(found.name + default, found.help))
    kinds = ", ".join(f"{key}=NAME" for key in sorted(_COMPONENTS & {option.name for option in describe_options(cls)}))
    lines += [f"papermage-train --help {kinds} lists the options of one"] if kinds else []
    return "\n".join(["options, each typed as key=value:", *lines])
