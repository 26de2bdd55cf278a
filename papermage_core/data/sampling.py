"""Some documents of many: a share of every kind, or those that a model is least sure of."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papermage_core.config.booleans import booleans_only
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.processors import processed
from papermage_core.data.readers import (
    AnyReader,
    OnError,
    at_least_one,
    check_read_again,
    expand_paths,
    iter_documents,
)
from papermage_core.data.units import text_digest
from papermage_core.data.wanted import Wanted
from papermage_core.data.writers import Written, write_documents
from papermage_core.document import Document
from papermage_core.errors import DataError, nearest
from papermage_core.plugin.spec import DocumentWriterConfig, LocatedDocument

__all__ = ["sample", "stratified", "write_sample"]


@booleans_only
def sample(
    data_path: str | Path | Sequence[str | Path],
    output_path: str | Path,
    n: int,
    *,
    by: str | None = None,
    label_field: Sequence[str] = (),
    seed: int = 470,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    writer: DocumentWriterConfig | None = None,
    on_error: OnError | None = None,
    on_refused: OnError | None = None,
    overwrite: bool = False,
) -> Written:
    """Write ``n`` documents, of each kind as large a share as there is of it, and one at least while there is room.

    The kind is the value of the metadata ``by``, or of the layers ``label_field`` those that have entities, or else the
    length: a quarter of the documents each. Of documents with the same text one is taken. Reads twice, holding a hash
    and a number a document. ``on_error`` and ``on_refused`` as for `convert`. Raises DataError for a key, or a layer,
    that no document has.
    """
    files = expand_paths(data_path, reader=reader)
    check_read_again(files, "sample")
    kinds: dict[str, int] = {}
    numbers, lengths, of_kind = [], [], []
    seen: set[bytes] = set()
    keys: set[str] = set()
    layers: set[str] = set()
    read = at_least_one(lambda told: iter_documents(files, reader=reader, on_error=told), on_error)
    for number, located in enumerate(read):
        digest = text_digest(located.document)
        if digest in seen:
            continue
        seen.add(digest)
        keys.update(located.document.metadata)
        layers.update(located.document.layer_names)
        numbers.append(number)
        lengths.append(len(located.document.symbols or ""))
        of_kind.append(kinds.setdefault(_kind(located.document, by, label_field), len(kinds)))
    _check_known("by", [] if by is None else [by], "this key in its metadata", keys, files)
    _check_known("label_field", label_field, "this layer", layers, files)
    strata = np.array(of_kind, np.int64)
    if by is None and not label_field and lengths:
        strata = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    chosen = {numbers[i] for i in stratified(strata, n, seed).tolist()}
    again = None if on_error is None else (lambda error: None)  # they were handed over in the first reading
    return write_sample(
        files,
        output_path,
        chosen,
        reader=reader,
        processors=processors,
        writer=writer,
        on_error=again,
        on_refused=on_refused,
        overwrite=overwrite,
    )


def _check_known(option: str, names: Sequence[str], what: str, known: set[str], files: Sequence[Path]) -> None:
    for name in names:
        if name not in known:
            there = f"{nearest(name, known)} There are: {', '.join(sorted(known)) or 'none'}"
            raise DataError(f"{option}={name}: no document has {what}.{there}", path=", ".join(map(str, files)))


def _kind(document: Document, by: str | None, label_field: Sequence[str]) -> str:
    if by is not None:
        return str(document.metadata.get(by, None))
    present = [name for name in label_field if name in document.layer_names]
    return ",".join(name for name in present if len(document.get_layer(name)))


def stratified(strata: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Return which of the documents are taken, ascending; ``strata`` is the kind of each.

    >>> strata = np.array([0] * 90 + [1] * 9 + [2])
    >>> np.bincount(strata[stratified(strata, 10, 0)]).tolist()
    [8, 1, 1]
    """
    rng = np.random.default_rng(seed)
    n = min(n, len(strata))
    _, kind, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    kind = kind.reshape(-1)
    wanted = n * sizes / max(1, len(strata))
    room = np.zeros(len(sizes), np.int64)
    for each in np.argsort(sizes)[:n]:  # the rarest first: they would get none
        room[each] = 1
    while room.sum() < n:
        room[int(np.argmax(np.where(room < sizes, wanted - room, -np.inf)))] += 1
    order = rng.permutation(len(strata))
    taken = [order[kind[order] == each][: room[each]] for each in range(len(sizes))]
    return np.sort(np.concatenate([*taken, np.zeros(0, np.int64)]))


def least_sure(sureness: Iterator[float], n: int) -> set[int]:
    """Return the numbers of the ``n`` documents whose sureness is least."""
    return {number for _, number in heapq.nsmallest(n, ((value, number) for number, value in enumerate(sureness)))}


@booleans_only
def write_sample(
    files: Sequence[Path],
    output_path: str | Path,
    chosen: set[int],
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    writer: DocumentWriterConfig | None = None,
    on_error: OnError | None = None,
    on_refused: OnError | None = None,
    overwrite: bool = False,
) -> Written:
    """Write the documents of these numbers, counted among those that can be read, in their order.

    ``on_refused`` takes the error of a document that processors or the output's format cannot hold, which is left out
    (see `write_documents`). Raises DataError for standard input and pipes, which were read when the documents were
    chosen.
    """
    check_read_again(files, "sample")
    found = iter_documents(files, reader=reader, on_error=on_error)
    some: Iterator[LocatedDocument] = (located for number, located in enumerate(found) if number in chosen)
    documents = processed(some, processors, on_error=on_refused) if processors is not None else some
    wanted = None if writer is None else Wanted(writer)
    documents = documents if wanted is None else wanted.look_at_all(documents)
    written = write_documents(documents, output_path, writer, overwrite=overwrite, inputs=files, on_refused=on_refused)
    if wanted is not None and written.documents:
        wanted.warn_at_last(output_path)
    return written
