"""``papermage-data convert``: documents in, JSON Lines out, or what a reader's module writes."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.readers import STDIN, iter_documents
from papermage_core.errors import ConfigError, PluginError
from papermage_core.files import whole_file
from papermage_core.plugin.manager import Plugins

if TYPE_CHECKING:
    from papermage_core.cli.data import Convert
    from papermage_core.document import Document

__all__ = ["convert", "with_output_path"]


def with_output_path(words: Sequence[str]) -> list[str]:
    """Return the words with the last of several paths as the output, if none is named and nothing is there yet.

    Raises ConfigError if something is there: it may be meant as an input, and must not be lost.
    """
    paths = [word for word in words if "=" not in word]
    sources = len(paths) + any(word.startswith("data_path=") for word in words)
    if not paths or sources < 2 or any(word.startswith("output_path=") for word in words):
        return list(words)
    last = paths[-1]
    if os.path.lexists(last):
        raise ConfigError(
            f"output_path is missing; to write over {last}, which is there already, type output_path={last}"
        )
    if glob.has_magic(last) or last == STDIN:
        return list(words)
    return [f"output_path={word}" if word is last else word for word in words]


def convert(options: Convert, reader: ReaderChoice) -> int:
    """Write all documents, the file whole or not at all; return how many."""
    write = _writer(options.output_path, Plugins(options.plugins_path)) or _write_jsonl
    located = iter_documents(options.data_path, reader=reader)
    try:
        return write((each.document for each in located), Path(options.output_path))
    except ModuleNotFoundError as exc:
        raise PluginError(
            f"output_path={options.output_path}: writing it needs {exc.name}; type: pip install {exc.name}"
        ) from exc


def _writer(path: str, plugins: Plugins) -> Callable[[Iterable[Document], Path], int] | None:
    """Return the function ``write_NAME`` beside the config of the reader NAME, for a path that ends in ``.NAME``."""
    name = Path(path).suffix[1:].lower()
    if name == "jsonl" or not plugins.named("document_reader", name):
        return None
    module = sys.modules[plugins.config_class("document_reader", name).__module__]
    write: Callable[[Iterable[Document], Path], int] | None = getattr(module, f"write_{name}", None)
    if write is None:
        raise ConfigError(
            f"output_path={path}: reader={name} reads such files, and nothing writes them; choose a name in .jsonl or "
            ".jsonl.gz"
        )
    return write


def _write_jsonl(documents: Iterable[Document], path: Path) -> int:
    count = 0
    with ExitStack() as stack:
        file = sys.stdout.buffer if str(path) == STDIN else stack.enter_context(whole_file(path))
        for document in documents:
            file.write(document.to_bytes() + b"\n")
            count += 1
    return count
