"""Documents of a job that the format of its output cannot hold, where that shows only when the output is made."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from papermage_core.data.blocks import Plan
from papermage_core.data.writers import write_alone
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.files import Lines, whole_file
from papermage_core.plugin.spec import DocumentWriterConfig
from papermage_core.prediction.journal import Journal
from papermage_core.prediction.work import error_line

__all__ = ["Refused", "find_refused", "stored_documents"]


@attrs.frozen(kw_only=True)
class Refused:
    """Documents that a format cannot hold."""

    positions: Mapping[int, bytes] = attrs.field(factory=dict)
    """Position among the documents that are stored → line for the list of errors."""

    def list_in(self, path: Path) -> None:
        """Add them to a list of errors, in the order of the documents; what is there already stays there once."""
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        of_number = {json.loads(line)["number"]: line for line in [*lines, *self.positions.values()]}
        with whole_file(path) as file:
            file.writelines(of_number[number] for number in sorted(of_number))

    def left(self, numbers_and_lengths: Sequence[int]) -> list[int]:
        """Return number and bytes of the other documents, of those of all."""
        pairs = zip(numbers_and_lengths[::2], numbers_and_lengths[1::2], strict=True)
        return [value for at, pair in enumerate(pairs) if at not in self.positions for value in pair]


def stored_documents(path: Path, without: Collection[int] = ()) -> Iterator[Document]:
    """Yield the documents that a job has stored, but those at some positions."""
    with path.open("rb") as file:
        for at, line in enumerate(Lines(file, 1 << 62)):
            if at not in without:
                yield Document.from_bytes(line.rstrip(b"\n"))


def find_refused(journal: Journal, config: DocumentWriterConfig, plan: Plan) -> Refused:
    """Return which stored documents cannot be written, each tried alone; ``plan`` tells which files they are of."""
    numbers = journal.lengths()[::2]
    errors: dict[int, tuple[int, DataError]] = {}
    for at, document in enumerate(stored_documents(journal.data_path)):
        try:
            write_alone(document, config)
        except DataError as error:
            number = numbers[at] if at < len(numbers) else at  # a job that was begun before numbers were kept
            errors[at] = number, error.replace(document=error.document or document.id)
    paths = _paths({number for number, _ in errors.values()}, plan) if errors else {}
    told = ((at, number, error.replace(path=paths.get(number))) for at, (number, error) in errors.items())
    return Refused(positions={at: error_line(number, error) for at, number, error in told})


def _paths(numbers: Collection[int], plan: Plan) -> dict[int, Path]:
    """Return the files of documents, by the numbers that these have in the job."""
    found: dict[int, Path] = {}
    for block in plan:
        begin = block.first
        for piece in block.pieces:
            found.update((number, piece.path) for number in numbers if begin <= number < begin + piece.count)
            begin += piece.count
    return found
