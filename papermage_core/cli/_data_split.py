"""``papermage-data split``: whole documents, dealt out to files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.readers import STDIN, iter_documents
from papermage_core.data.units import text_digest
from papermage_core.errors import DataError
from papermage_core.files import whole_file

if TYPE_CHECKING:
    from papermage_core.cli.data import Split

__all__ = ["split"]


def split(options: Split, reader: ReaderChoice) -> dict[Path, int]:
    """Deal the documents out; return how many each file got.

    The same documents, shares and seed give the same files. Documents with the same text go to the same file, so that
    none of them is both learnt and tested. All files appear, or none does. Reads twice, holding a hash a document.
    """
    if any(path == STDIN for path in options.data_path):
        raise DataError("split reads its input twice: write standard input to a file first", path=STDIN)
    targets = [options.output_path / f"{name}.jsonl" for name in options.names[: len(options.shares)]]
    taken = [str(target) for target in targets if target.exists()]
    if taken and not options.overwrite:
        raise DataError(f"there is {', '.join(taken)} already: choose another output_path, or type overwrite=true")
    digests = [text_digest(located.document) for located in iter_documents(options.data_path, reader=reader)]
    part_of = _dealt(list(dict.fromkeys(digests)), options.shares, options.seed)
    counts = dict.fromkeys(targets, 0)
    options.output_path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = [stack.enter_context(whole_file(target)) for target in targets]
        for located in iter_documents(options.data_path, reader=reader):
            part = part_of.get(text_digest(located.document))
            if part is None:
                raise DataError("the file changed while it was read", path=located.path, line=located.line)
            files[part].write(located.document.to_bytes() + b"\n")
            counts[targets[part]] += 1
    return counts


def _dealt(digests: Sequence[bytes], shares: Sequence[float], seed: int) -> dict[bytes, int]:
    """Return the part of each text. Every part gets one before any share is rounded."""
    if len(digests) < len(shares):
        raise DataError(f"expected at least {len(shares)} documents of different text, got {len(digests)}")
    mixed = list(digests)
    random.Random(seed).shuffle(mixed)
    bounds = [round(sum(shares[: i + 1]) * len(mixed)) for i in range(len(shares))]
    for i in range(len(bounds)):  # from both sides, so that no part is empty
        bounds[i] = min(max(bounds[i], i + 1), len(mixed) - (len(shares) - 1 - i))
    starts = [0, *bounds[:-1]]
    return {digest: part for part, (a, b) in enumerate(zip(starts, bounds, strict=True)) for digest in mixed[a:b]}
