"""Part files of a job that several processes share by ``shard=i/n``, put together when all are there.

Beside each part file lies ``<part>.shard.json``: which part it is, of which job, and how long each of its documents is.
"""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from inspect import signature
from pathlib import Path

import attrs

from papermage_core.config.booleans import booleans_only
from papermage_core.config.writers import writer_for
from papermage_core.data.readers import file_head, iter_documents, none_usable, reader_config
from papermage_core.data.writers import Written, write_documents
from papermage_core.document import Document
from papermage_core.errors import ConfigError, DataError, counted
from papermage_core.files import (
    check_output,
    find_files,
    open_bytes,
    open_output,
    whole_file,
    whole_text_file,
)
from papermage_core.plugin.blame import built
from papermage_core.plugin.endings import has_ending
from papermage_core.plugin.spec import DocumentWriterConfig

__all__ = ["ShardFacts", "errors_path_of", "facts_path", "merge_shards", "parts_of", "write_facts"]


_LEAST, _IN_HAND = 1 << 14, 64 << 20
"""Bytes that are read at once of a part at least, and of all of them together."""


@attrs.frozen(kw_only=True)
class ShardFacts:
    """What a part file is."""

    shard: int
    """Which part, from 1."""
    of: int
    """How many parts there are."""
    job: Mapping[str, str]
    """What the job is, the same for all parts."""
    lengths: Sequence[int]
    """Number, among all documents of the job, and bytes of each document, one after the other."""

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the documents."""
        return self.lengths[::2]


def errors_path_of(output_path: str | Path) -> Path:
    """Return where documents that could not be used are listed.

    >>> str(errors_path_of("out/found.csv"))
    'out/found.csv.errors.jsonl'
    """
    return Path(f"{Path(output_path)}.errors.jsonl")


def facts_path(path: str | Path) -> Path:
    """Return where it is said what a part file is."""
    return Path(f"{path}.shard.json")


def write_facts(path: Path, facts: ShardFacts) -> None:
    """Write beside a part file what it is."""
    with whole_text_file(facts_path(path)) as file:
        json.dump({"format": 1, **attrs.asdict(facts)}, file)


def _read_facts(path: Path) -> ShardFacts:
    try:
        found = json.loads(facts_path(path).read_text(encoding="utf-8"))
        return ShardFacts(**{name: found[name] for name in ("shard", "of", "job", "lengths")})
    except FileNotFoundError as exc:
        raise DataError(
            f"this is no whole part file: there is no {facts_path(path).name} beside it; papermage-predict shard=i/n "
            "writes it when a part is done",
            path=path,
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError("cannot be read", path=facts_path(path), expected="what papermage-predict wrote") from exc


@booleans_only
def merge_shards(
    paths: Sequence[Path],
    output_path: str | Path,
    writer: str | DocumentWriterConfig | None = None,
    *,
    overwrite: bool = False,
) -> Written:
    """Write the documents of part files, in the order that they had before they were shared out.

    Part files of a format that is written bit by bit become a file of this format, to the byte that which one process
    had written; those that can be read become any other. Raises DataError for parts that are missing, that are there
    twice, or that are of different jobs, and where all of them together hold errors alone.
    """
    config = writer if isinstance(writer, DocumentWriterConfig) else writer_for(Path(output_path), writer)
    check_output(output_path, inputs=paths, overwrite=overwrite, folder=config.target == "folder")
    errors = [path for path in map(errors_path_of, paths) if path.is_file()]
    if errors:
        check_output(errors_path_of(output_path), inputs=errors, overwrite=overwrite)
    facts = [_read_facts(path) for path in paths]
    _check_whole(paths, facts)
    if not errors:
        return _merged(paths, facts, config, output_path, overwrite)
    with whole_file(errors_path_of(output_path)) as file:  # there only if the documents are
        lines = [_lines(path, _block(len(errors))) for path in errors]
        file.writelines(merge(*lines, key=lambda line: json.loads(line)["number"]))
        if any(each.numbers for each in facts):
            return _merged(paths, facts, config, output_path, overwrite)
    raise none_usable(sum(1 for path in errors for _ in _lines(path)))


def _merged(
    paths: Sequence[Path],
    facts: Sequence[ShardFacts],
    config: DocumentWriterConfig,
    output_path: str | Path,
    overwrite: bool,
) -> Written:
    same = all(repr(config) == each.job["writer"] for each in facts)
    if same and config.target == "file" and "first" in signature(built(config).write).parameters:
        return _joined(paths, facts, config, output_path)
    if config.target == "folder" and same:
        raise ConfigError(
            f"output_path={output_path}: parts that are folders are not merged; write parts that end in .jsonl, and "
            "merge them into this"
        )
    _check_read(paths)
    documents = _in_order(paths, facts)
    return write_documents(documents, output_path, config, overwrite=overwrite, inputs=paths)


def parts_of(paths: Sequence[str]) -> list[Path]:
    """Return the part files that paths and globs name, without what lies beside them.

    Raises DataError for a glob that matches none.
    """
    found: dict[Path, None] = {}
    for each in paths:
        matches = find_files(each) if glob.has_magic(each) else [Path(each)]
        beside = (".shard.json", ".errors.jsonl") if glob.has_magic(each) else ()
        parts = [path for path in matches if not path.name.endswith(beside)]
        if not parts:
            raise DataError("no part matches this pattern", path=each, expected="those of papermage-predict shard=i/n")
        found.update(dict.fromkeys(parts))
    return list(found)


def _check_read(paths: Sequence[Path]) -> None:
    """Raise DataError for parts of a format that nobody reads, which become a file of this format alone."""
    for path in paths:
        try:
            config = reader_config(path, None)
            begin = b"" if has_ending(config, path) else file_head(path)
            if begin.strip() and not config.recognises(path, begin):  # a table, of which the ending says too little
                raise DataError("is of no reader", path=path)
        except DataError as error:
            raise DataError(
                "a part of this format is merged into a file of this format alone, with the options that parts were "
                "written with; write parts that end in .jsonl to have any other",
                path=path,
            ) from error


def _block(parts: int) -> int:
    """Return how much is read at once of each of many parts, all of which are in hand at once."""
    return max(_LEAST, _IN_HAND // max(parts, 1))


def _lines(path: Path, block: int | None = None) -> Iterator[bytes]:
    with open_bytes(path, block=block) as file:
        yield from file


def _check_whole(paths: Sequence[Path], facts: Sequence[ShardFacts]) -> None:
    if not paths:
        raise ConfigError("name the part files to merge")
    first = facts[0]
    for path, each in zip(paths, facts, strict=True):
        changed = [key for key in first.job if each.job.get(key) != first.job[key]]
        if each.of != first.of or changed:
            what = ", ".join(changed) or f"shard={each.shard}/{each.of}"
            raise DataError(f"this is a part of another job than {paths[0]}: other {what}", path=path)
    numbers = [each.shard for each in facts]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise DataError(f"part {twice[0]} of {first.of} is there twice: {_named(paths, facts, twice[0])}")
    if missing := sorted(set(range(1, first.of + 1)) - set(numbers)):
        told = ", ".join(map(str, missing[:20]))
        raise DataError(f"of {first.of} parts, there are none for shard={told}; run papermage-predict for them first")


def _named(paths: Sequence[Path], facts: Sequence[ShardFacts], number: int) -> str:
    return " and ".join(str(path) for path, each in zip(paths, facts, strict=True) if each.shard == number)


def _joined(
    paths: Sequence[Path], facts: Sequence[ShardFacts], config: DocumentWriterConfig, output_path: str | Path
) -> Written:
    """Write the bytes of each document in its place, after what a file without documents has."""
    head = io.BytesIO()
    built(config).write([], head)
    count = 0
    with open_output(output_path) as target:
        target.write(head.getvalue())
        block = _block(len(paths))
        parts = [_pieces(path, each, head.getvalue(), block) for path, each in zip(paths, facts, strict=True)]
        for _, piece in merge(*parts, key=lambda each: each[0]):
            target.write(piece)
            count += 1
    return Written(count, {})


def _pieces(path: Path, facts: ShardFacts, head: bytes, block: int) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each document of a part file. Raises DataError for one that is longer or shorter."""
    with open_bytes(path, block=block) as file:
        is_whole = file.read(len(head)) == head
        for number, length in zip(facts.numbers, facts.lengths[1::2], strict=True):
            piece = file.read(length)
            is_whole = is_whole and len(piece) == length
            if is_whole:
                yield number, piece
        if not is_whole or file.read(1):
            raise DataError("this part file is not as long as it was: it was cut or changed", path=path)


def _in_order(paths: Sequence[Path], facts: Sequence[ShardFacts]) -> Iterator[Document]:
    """Yield the documents of part files that can be read, in their order."""
    parts = [_numbered(path, each) for path, each in zip(paths, facts, strict=True)]
    return (document for _, document in merge(*parts, key=lambda each: each[0]))


def _numbered(path: Path, facts: ShardFacts) -> Iterator[tuple[int, Document]]:
    count = 0
    for located in iter_documents(path):
        if count < len(facts.numbers):
            yield facts.numbers[count], located.document
        count += 1
    if count != len(facts.numbers):
        raise DataError(
            f"this part file holds {counted(count, 'documents')}, not the {len(facts.numbers)} written: it was changed",
            path=path,
        )
