"""Whole documents, dealt out to files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from papermage_core.config.booleans import booleans_only
from papermage_core.data.readers import AnyReader, OnError, check_read_again, expand_paths, iter_documents
from papermage_core.data.units import text_digest
from papermage_core.errors import ConfigError, DataError
from papermage_core.files import check_output, whole_file
from papermage_core.files.whole import made_folder

__all__ = ["split"]


@booleans_only
def split(
    data_path: str | Path | Sequence[str | Path],
    output_path: str | Path,
    *,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    names: Sequence[str] = ("train", "dev", "test"),
    seed: int = 470,
    reader: AnyReader = None,
    on_error: OnError | None = None,
    overwrite: bool = False,
) -> dict[Path, int]:
    """Deal documents out to JSON Lines files in the folder ``output_path``; return how many each got.

    ``shares`` are parts of 1, or like ``8, 1, 1`` in proportion to each other. The same documents, shares and seed give
    the same files. Documents with the same text go to the same file, so that none of them is both learnt and tested.
    All files appear, or none does. Reads twice, holding a hash a document. Raises ConfigError for shares and names that
    do not fit, and as `write_documents` does.
    """
    files = expand_paths(data_path, reader=reader)
    check_read_again(files, "split")
    bounds = _bounds(shares)
    names = names[: len(shares)]
    if len(names) < len(shares) or len(set(names)) < len(names):
        raise ConfigError(f"names={','.join(names)}: expected a name of its own for each of shares")
    targets = [Path(output_path) / f"{name}.jsonl" for name in names]
    for target in targets:
        check_output(target, inputs=files, overwrite=overwrite)
    digests = [text_digest(each.document) for each in iter_documents(files, reader=reader, on_error=on_error)]
    part_of = _dealt(list(dict.fromkeys(digests)), bounds, seed)
    counts = dict.fromkeys(targets, 0)
    with made_folder(output_path), ExitStack() as stack:
        outputs = [stack.enter_context(whole_file(target)) for target in targets]
        again = None if on_error is None else _ignore  # they were handed over when the texts were read
        for located in iter_documents(files, reader=reader, on_error=again):
            part = part_of.get(text_digest(located.document))
            if part is None:
                raise located.error("the file changed while it was read")
            outputs[part].write(located.document.to_bytes(with_images=bool(located.document.images)) + b"\n")
            counts[targets[part]] += 1
        for output in outputs:  # where a disk is full, none takes its name
            output.flush()
    return counts


def _ignore(error: DataError) -> None:
    pass


def _bounds(shares: Sequence[float]) -> list[float]:
    """Return where each part ends, as a share of the whole. Shares of 1 or more are in proportion to each other."""
    total = sum(shares)
    given = f"shares={','.join(f'{share:g}' for share in shares)}"
    if not shares or not min(shares) > 0 or total == float("inf"):
        raise ConfigError(f"{given}: expected shares above 0")
    if abs(total - 1) > 1e-6 and min(shares) < 1:
        raise ConfigError(f"{given}: expected shares that sum to 1, or whole numbers in proportion such as 8,1,1")
    return [sum(shares[: i + 1]) / total for i in range(len(shares))]


def _dealt(digests: Sequence[bytes], shares: Sequence[float], seed: int) -> dict[bytes, int]:
    """Return the part of each text. Every part gets one before any share is rounded."""
    if len(digests) < len(shares):
        raise DataError(f"expected at least {len(shares)} documents of different text, got {len(digests)}")
    mixed = list(digests)
    random.Random(seed).shuffle(mixed)
    bounds = [round(share * len(mixed)) for share in shares]
    for i in range(len(bounds)):  # from both sides, so that no part is empty
        bounds[i] = min(max(bounds[i], i + 1), len(mixed) - (len(shares) - 1 - i))
    starts = [0, *bounds[:-1]]
    return {digest: part for part, (a, b) in enumerate(zip(starts, bounds, strict=True)) for digest in mixed[a:b]}
