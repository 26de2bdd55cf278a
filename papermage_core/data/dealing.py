"""Documents dealt out so that each part has its share of every label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papermage_core.data.corpus import Corpus

__all__ = ["deal", "even_sizes"]


def even_sizes(count: int, parts: int) -> list[int]:
    """Return how many of ``count`` documents each part gets, no two of them more than one apart.

    >>> even_sizes(11, 4)
    [3, 3, 3, 2]
    """
    return [count // parts + (part < count % parts) for part in range(parts)]


def deal(corpus: Corpus, sizes: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Return the part of each document, shape (documents,), where the parts have ``sizes`` documents.

    Documents that have the rarest label come first, each to the part that still wants most of that label, then most
    gold entities: iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label
    Data", ECML PKDD 2011), with the order of labels settled once, so that one pass is enough. Documents of the same
    text go to one part, which may then get a few more than its size. The same documents and seed give the same parts.
    """
    texts = _Texts(corpus)
    share = np.array(sizes, np.float64) / max(1, sum(sizes))
    room = np.array(sizes, np.int64)
    wanted = share * texts.frequency[:, None]  # of each label, shape (labels, parts)
    entities_wanted = share * texts.entities.sum()
    part_of = np.empty(len(texts.size), np.int64)
    for text in texts.order(seed).tolist():
        size, labels = texts.size[text], texts.labels[texts.bounds[text] : texts.bounds[text + 1]]
        fits = room >= min(size, room.max())
        of_rarest = wanted[labels[0]] if len(labels) else room
        part = int(np.lexsort((room, entities_wanted, of_rarest, fits))[-1])
        part_of[text] = part
        room[part] -= size
        wanted[labels, part] -= 1
        entities_wanted[part] -= texts.entities[text]
    return part_of[texts.text_of]


class _Texts:
    """The different texts of a corpus, with the labels of their documents."""

    def __init__(self, corpus: Corpus) -> None:
        _, inverse = np.unique(corpus.digest[corpus.row], return_inverse=True)
        self.text_of: NDArray[np.int64] = inverse.reshape(-1)
        n = int(self.text_of.max(initial=-1)) + 1
        self.size: NDArray[np.int64] = np.bincount(self.text_of, minlength=n)
        text_of_record = np.full(len(corpus.records), -1, np.int64)
        text_of_record[corpus.row] = self.text_of
        names = {name: i for i, name in enumerate(dict.fromkeys(key[:2] for key in corpus.label_keys))}
        label_of_key = np.array([names[key[:2]] for key in corpus.label_keys], np.int64)
        key, record, count = corpus.label_counts.T
        chosen = text_of_record[record] >= 0
        text, label = text_of_record[record[chosen]], label_of_key[key[chosen]]
        self.entities: NDArray[np.int64] = np.bincount(text, weights=count[chosen], minlength=n).astype(np.int64)
        pairs = np.unique(text * max(1, len(names)) + label)
        text, label = np.divmod(pairs, max(1, len(names)))
        self.frequency: NDArray[np.int64] = np.bincount(label, minlength=len(names))
        order = np.lexsort((self.frequency[label], text))  # of each text, the rarest first
        self.labels = label[order]
        self.bounds = np.searchsorted(text[order], np.arange(n + 1))

    def order(self, seed: int) -> NDArray[np.int64]:
        """Return the texts: those with the rarest label first, those without any last, else mixed by the seed."""
        mixed = np.random.default_rng(seed).permutation(len(self.size))
        has_any = self.bounds[1:] > self.bounds[:-1]
        rarest = np.full(len(self.size), len(self.frequency), np.int64)
        rarest[has_any] = self.labels[self.bounds[:-1][has_any]]
        frequency = np.append(self.frequency, np.iinfo(np.int64).max)
        return np.lexsort((mixed, rarest, frequency[rarest]))
