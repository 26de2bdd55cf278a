"""Where a corpus comes from: files, how they are read, how often they count, and a hash of what is in them."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.processors import processed
from papermage_core.data.readers import (
    STDIN,
    AnyReader,
    companions_of,
    expand_paths,
    iter_documents,
    reader_config,
    without_companions,
)
from papermage_core.data.store import read_at
from papermage_core.errors import DataError
from papermage_core.plugin.code import digest_of_code
from papermage_core.plugin.spec import ComponentConfig, DocumentProcessorConfig, LocatedDocument

__all__ = ["DocumentSource", "digest_of_file"]

_BLOCK = 16 << 20


@attrs.frozen(eq=False, slots=False)
class DocumentSource:
    """Files, folders, globs or ``-`` for standard input, and the reader of their documents."""

    paths: tuple[Path, ...]
    reader: AnyReader = None
    weights: tuple[float, ...] = ()
    """How often the documents of each path are trained on in an epoch; 1 where there are none."""
    processors: ProcessorChoice = attrs.field(factory=ProcessorChoice)
    """What adds layers to the documents after they are read."""
    before: ProcessorChoice = attrs.field(factory=ProcessorChoice)
    """What adds layers before that, such as those typed for a checkpoint, which has its own."""

    @functools.cached_property
    def files(self) -> dict[Path, float]:
        """The files that the paths stand for, in order, with their weights. Raises DataError where there are none."""
        weights = self.weights or (1.0,) * len(self.paths)
        files: dict[Path, float] = {}
        for path, weight in zip(self.paths, weights, strict=True):
            for file in expand_paths(path, reader=self.reader):
                files[file] = weight
        if len(self.paths) > 1:  # a text of one may belong to the annotations of another
            return {file: files[file] for file in without_companions(list(files), self.reader)}
        return files

    @property
    def is_readable_twice(self) -> bool:
        """Whether the files stay what they are: not so for standard input and pipes."""
        return all(str(path) != STDIN and path.is_file() for path in self.files)

    def documents(self, first: int = 0, every: int = 1) -> Iterator[LocatedDocument]:
        """Yield the documents number ``first``, ``first + every`` …, lazily."""
        found = iter_documents(list(self.files), reader=self.reader, first=first, every=every)
        return processed(found, self._processors)

    @property
    def _processors(self) -> tuple[DocumentProcessorConfig, ...]:
        return (*self.before.configs, *self.processors.configs)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Return size and time of change of each regular file: another one where a file was changed meanwhile."""
        found = (path.stat() for path in self.files if path.is_file())
        return tuple((each.st_size, each.st_mtime_ns) for each in found)

    def size(self) -> int:
        """Return how many bytes the files have; 0 for what is no regular file."""
        return sum(path.stat().st_size for path in self.files if path.is_file())

    @functools.cached_property
    def content(self) -> str | None:
        """A hash of the names and bytes of files, of those that belong to them, of the readers and the processors.

        None where the files cannot be read twice.
        """
        if not self.is_readable_twice:
            return None
        digest = hashlib.sha256()
        configs: dict[str, ComponentConfig] = {}
        for path in self.files:
            config = reader_config(path, self.reader)
            configs.setdefault(repr(config), config)
            for file in (path, *companions_of(path, config)):
                digest.update(f"{file}\0".encode("utf-8", "surrogateescape") + digest_of_file(file))
        digest.update("".join(each.fingerprint for each in self._processors).encode())
        for each in [*configs.values(), *self._processors]:
            digest.update(f"{each!r}\0{digest_of_code([type(each)])}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def digest_of_file(path: Path) -> bytes:
    """Return a hash of a file: of hashes of its blocks, which several threads make."""
    size = path.stat().st_size
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            with ThreadPoolExecutor(min(4, 1 + size // _BLOCK)) as threads:
                blocks = threads.map(lambda at: _digest_of_block(handle, at), range(0, max(size, 1), _BLOCK))
                return hashlib.sha256(b"".join(blocks)).digest()
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"cannot read this file: {error.strerror or error}", path=path) from error


def _digest_of_block(handle: int, at: int) -> bytes:
    return hashlib.sha256(read_at(handle, _BLOCK, at)).digest()
