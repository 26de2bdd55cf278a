"""Which reader reads which file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.structure import nest, structure
from papermage_core.errors import ConfigError, DataError, nearest
from papermage_core.files import compression, is_dead_link
from papermage_core.plugin.endings import Endings, has_ending
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import DocumentReaderConfig

__all__ = ["OF_STREAMS", "ReaderChoice", "companions", "other_kind", "shown_ending"]

_KIND = "document_reader"
OF_STREAMS = "jsonl"
"""The reader, and the writer, of what has no ending: standard input and output, pipes, files without one."""
_OTHER_KINDS = {
    "an archive: unpack it, and name the folder or the files in it": (
        ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".7z", ".rar"
    ),
    "a document of a word processor: save it as PDF or as text": (".docx", ".doc", ".odt", ".rtf", ".pages"),
}  # fmt: skip
Head = Callable[[Path, bool], bytes]


@attrs.frozen(kw_only=True, slots=False)
class ReaderChoice:
    """The reader that was named, for every file; else the one whose ending a file has.

    Options are those of the reader named; without a name, each reader takes those that it has. Can be sent to worker
    processes. ``head`` is a function that returns the first bytes of a file, decompressed.
    """

    name: str | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Dotted or nested."""
    plugins_path: tuple[Path, ...] = ()
    config: DocumentReaderConfig | None = None
    """A config made in Python, in place of a name and options."""
    sources: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False)
    """Where options were given, for messages."""

    @cached_property
    def _plugins(self) -> Plugins:
        return Plugins(self.plugins_path)

    @cached_property
    def _endings(self) -> Endings:
        return Endings(self._plugins, _KIND)

    @cached_property
    def named(self) -> DocumentReaderConfig | None:
        """The config of the one reader for all files, if there is one. Raises PluginError and ConfigError."""
        if self.config is not None or self.name is None:
            return self.config
        return self._configured(self.name, self._class(self.name), self.options)

    def config_for(self, path: Path, head: Head) -> DocumentReaderConfig:
        """Return the config of a file's reader. Raises DataError for a file that is nobody's."""
        if self.named is not None:
            return self.named
        if is_dead_link(path):
            raise DataError(f"is a link to {path.readlink()}, which is not there", path=path)
        name, config_class = self._found(path, head)
        own = {key: value for key, value in self.options.items() if _first(key) in _options(config_class)}
        return self._configured(name, config_class, own)

    def _found(self, path: Path, head: Head) -> tuple[str, type[DocumentReaderConfig]]:
        claimants = self._claimants(path)
        owner = claimants[0] if len(claimants) == 1 else self._endings.owner(path, partial(head, path))
        if owner is None:
            if path.is_file() and not path.stat().st_size:
                raise DataError("this file is empty", path=path)
            names = " or ".join(f"reader={component}" for component, _ in claimants)
            raise DataError(f"several readers have this ending, and none knows this file: type {names}", path=path)
        return owner

    def _claimants(self, path: Path) -> list[tuple[str, type[DocumentReaderConfig]]]:
        """Return the readers that may have a file, by name. Raises DataError where there are none."""
        if not shown_ending(path):
            return [(OF_STREAMS, self._class(OF_STREAMS))]
        if found := self._endings.claimants(path):
            return found
        told = f"this is {other}. " if (other := other_kind(path)) else ""
        raise DataError(
            f"{told}no reader is known for files that end in {shown_ending(path)}; known: {self._endings}; "
            "reader=NAME reads a file whatever its ending",
            path=path,
            expected=f"a file of one of these readers: {self._endings}",
        )

    def check(self, files: Iterable[Path]) -> None:
        """Raise what keeps files from being read, as far as their names tell: nothing is opened.

        DataError for a file that no reader has, PluginError for a reader that is broken, ConfigError for options.
        """
        if self.named is not None:
            return
        of_each = {self._endings.ending(path) or shown_ending(path): path for path in files}
        classes = [config_class for path in of_each.values() for _, config_class in self._claimants(path)]
        known = {option for config_class in classes for option in _options(config_class)}
        if unknown := [key for key in self.options if _first(key) not in known]:
            listed = ", ".join(sorted(known)) or "none"
            raise ConfigError(
                *(
                    f"reader.{key}: no reader of these files has it{nearest(key, known)}; they have: {listed}"
                    for key in unknown
                )
            )

    def in_folder(self, files: Sequence[Path], head: Head) -> list[Path]:
        """Return which files of a folder are documents.

        Those with the endings of the reader named; else all that are some reader's own, and those of shared endings
        that a reader recognises. What belongs to another file of the folder is left out. A link that leads nowhere is
        what its name says: who reads it finds out.
        """
        found: list[tuple[Path, Any]]
        if self.named is not None:
            own = [path for path in files if has_ending(self.named, path)]
            shared = [path for path in files if has_ending(self.named, path, shared=True)]
            found = [(path, self.named) for path in own or shared]
        else:
            owners = ((path, self._owner_in_folder(path, head)) for path in files)
            found = [(path, owner[1]) for path, owner in owners if owner is not None]
        belonging = {other for path, config in found for other in companions(path, config)}
        return [path for path, _ in found if path not in belonging]

    def _owner_in_folder(self, path: Path, head: Head) -> tuple[str, Any] | None:
        if is_dead_link(path):
            return next(iter(self._endings.claimants(path)), None)
        return self._endings.owner(path, partial(head, path))

    def endings(self) -> list[str]:
        """Return the endings that `in_folder` looks for."""
        if self.named is not None:
            return [*self.named.suffixes, *self.named.shared_suffixes]
        return self._endings.all()

    def advice(self, path: Path) -> str:
        """Return what to say first of a file that cannot be read, if its ending is that of other readers."""
        named = self.named
        if named is None and not shown_ending(path):
            return f"what has no ending is read as {OF_STREAMS}, unless reader=NAME says otherwise: "
        if named is None or has_ending(named, path) or has_ending(named, path, shared=True):
            return ""
        names = " or ".join(f"reader={name}" for name in self._endings.named(path))
        return f"a file of this ending wants {names}; without it: " if names else ""

    def _class(self, name: str) -> type[DocumentReaderConfig]:
        found: type[DocumentReaderConfig] = self._plugins.config_class(_KIND, name)
        return found

    def _configured(
        self, name: str, config_class: type[DocumentReaderConfig], options: Mapping[str, Any]
    ) -> DocumentReaderConfig:
        return structure(config_class, nest(options), key="reader", name=name, sources=self.sources)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}


def _options(config_class: type[DocumentReaderConfig]) -> set[str]:
    return {_first(option.name) for option in describe_options(config_class)}


def _first(key: str) -> str:
    return key.partition(".")[0]


def companions(path: Path, config: DocumentReaderConfig | type[DocumentReaderConfig]) -> Iterator[Path]:
    """Yield the files that belong to a file: those that may be there, and those that match a pattern.

    Endings may be in capitals, as those that readers are found by.
    """
    stems = {path.name[:at] for at, sign in enumerate(path.name) if sign == "."}  # a.tei.xml is of a.tei and of a
    for end in config.companions:
        if end.startswith("../"):
            found = (Path(os.path.normpath(other)) for other in path.parent.glob(end))
        elif end.startswith("."):
            found = (path.with_name(stem + each) for stem in stems for each in (end, end.upper()))
        else:
            found = path.parent.glob(end)
        yield from (other for other in found if other != path)


def other_kind(path: Path) -> str:
    """Return what a file is that no reader reads, and what to do with it, by its ending; nothing for others.

    >>> other_kind(Path("corpus.tar.gz"))
    'an archive: unpack it, and name the folder or the files in it'
    """
    ending = Path(path.name.removesuffix(path.suffix) if compression(path) else path.name).suffix.lower()
    return next((kind for kind, endings in _OTHER_KINDS.items() if ending in endings), "")


def shown_ending(path: Path) -> str:
    """Return the ending of a file's name, with that of a compressed file; empty where there is none.

    >>> shown_ending(Path("v1.2/a.docx.gz")), shown_ending(Path("corpus.gz")), shown_ending(Path("-"))
    ('.docx.gz', '', '')
    """
    packed = path.suffix if compression(path) else ""
    inner = Path(path.name.removesuffix(packed)).suffix
    return inner and inner + packed
