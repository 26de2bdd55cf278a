"""Which documents a fold holds out, and which are a share of the training documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from papermage_core.config.several import METADATA
from papermage_core.data.corpus import Corpus
from papermage_core.data.dealing import deal, even_sizes
from papermage_core.errors import ConfigError, DataError, counted, nearest

__all__ = ["check_folds", "choose_fold", "folds_of", "share_of"]

_CURVE = (0.75, 0.5, 0.25)
"""Shares that hold each other: a smaller one is a part of the next."""


def folds_of(corpus: Corpus, folds: int | str, seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the folds, and the fold of each document by its place among them, shape (documents,).

    Raises DataError where there are fewer documents than folds, or one whose metadata do not name its fold.
    """
    where = ", ".join(corpus.description)
    if isinstance(folds, int):
        if folds > len(corpus):
            raise DataError(
                f"folds={folds}: there {'is' if len(corpus) == 1 else 'are'} only {counted(len(corpus), 'documents')}",
                path=where,
            )
        return [str(i + 1) for i in range(folds)], deal(corpus, even_sizes(len(corpus), folds), seed)
    of_document = _named_in_metadata(corpus, folds.removeprefix(METADATA))
    names = sorted(set(of_document), key=lambda name: (len(name), name) if name.isdecimal() else (0, name))
    if len(names) < 2:
        raise DataError(f"folds={folds}: all documents are of one fold, {names[0]!r}; expected two or more", path=where)
    return names, np.array([names.index(name) for name in of_document], np.int64)


def _named_in_metadata(corpus: Corpus, key: str) -> list[str]:
    """Return what the metadata of each document name as its fold. Reads the documents once more."""
    wanted = {int(number): place for place, number in enumerate(corpus.number[corpus.row])}
    found = [""] * len(wanted)
    for number, located in enumerate(corpus.source.documents()):
        if (place := wanted.get(number)) is None:
            continue
        value = located.document.metadata.get(key, None)
        if not isinstance(value, (str, int)) or value == "":
            hint = nearest(key, list(located.document.metadata.keys()))
            raise located.error(f"folds=metadata:{key}: expected the name of a fold there, got {value!r}.{hint}")
        found[place] = str(value)
    return found


def choose_fold(corpus: Corpus, folds: int | str, fold: str, seed: int) -> tuple[Corpus, Corpus]:
    """Return the documents to train on, and those that the fold holds out.

    Raises ConfigError where there is no such fold, DataError where either have no gold entity.
    """
    names, part = folds_of(corpus, folds, seed)
    if fold not in names:
        raise ConfigError(f"fold={fold}: expected {', '.join(names[:-1])} or {names[-1]}.{nearest(fold, names)}")
    return _parted(corpus, folds, fold, part == names.index(fold))


def check_folds(corpus: Corpus, folds: int | str, seed: int) -> list[str]:
    """Return the names of the folds. Raises DataError where one cannot be trained on, or not be scored."""
    names, part = folds_of(corpus, folds, seed)
    for place, fold in enumerate(names):
        _parted(corpus, folds, fold, part == place)
    return names


def _parted(corpus: Corpus, folds: int | str, fold: str, is_held_out: NDArray[np.bool_]) -> tuple[Corpus, Corpus]:
    train, held_out = corpus.choose(np.flatnonzero(~is_held_out)), corpus.choose(np.flatnonzero(is_held_out))
    for each, what in ((train, "the documents outside of it have"), (held_out, "it has")):
        if not each.entities.total():
            where = ", ".join(corpus.description)
            raise DataError(f"folds={folds}, fold {fold}: {what} no gold entity; give fewer folds", path=where)
    return train, held_out


def share_of(corpus: Corpus, share: float, seed: int) -> Corpus:
    """Return a share of the documents, with its share of every label; the shares of a curve hold each other."""
    count = len(corpus)
    for each in (*(step for step in _CURVE if step > share), share):
        wanted = max(1, round(each * count))
        part = deal(corpus, (wanted, len(corpus) - wanted), seed)
        corpus = corpus.choose(np.flatnonzero(part == 0))
    return corpus
