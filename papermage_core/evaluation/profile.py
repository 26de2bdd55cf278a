"""What a model was trained on, in short: its words, the texts of its entities, and which documents."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.data.units import digest_of
from papermage_core.errors import CheckpointError
from papermage_core.evaluation.evaluator import text_of, unit_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_core.data.units import ParsedDocument

__all__ = ["Profile", "normal"]

_MOST = 2_000_000
"""Different words, texts of entities, and documents after which no new ones are taken: later ones count as unknown."""
_MOST_LOOKED_UP = 100_000
"""Words that were looked up and are remembered."""
_BETWEEN_MERGES = 50_000
"""Words and texts that are held as objects."""
_TYPES = {"words": "<u4", "texts": "<u4", "counts": "<u4", "documents": "<u8", "chosen_by": "<u8"}
"""How each array is written."""


def normal(text: str) -> str:
    """Return a text as it is compared: in lower case, white space and hyphens as one space.

    >>> normal("Breast-\\nCancer")
    'breast cancer'
    """
    return " ".join(text.replace("-", " ").lower().split())


@attrs.frozen(eq=False)
class Profile:
    """Words and entity texts, as hashes of 32 bits in order, and documents, of 64."""

    words: NDArray[np.uint32]
    texts: NDArray[np.uint32]
    counts: NDArray[np.uint32]
    """How often each of the texts is an entity."""
    documents: NDArray[np.uint64] = attrs.field(factory=lambda: np.zeros(0, np.uint64))
    """Of the text of each document; none where the checkpoint is from before these were kept."""
    chosen_by: NDArray[np.uint64] = attrs.field(factory=lambda: np.zeros(0, np.uint64))
    """The same of the validation documents, by which the best epoch was chosen and scores were calibrated."""
    _known: dict[str, bool] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, documents: Iterable[ParsedDocument], chosen_by: Iterable[ParsedDocument] = ()) -> Profile:
        """Return the profile of labelled documents, and of those that the model was chosen by; each is read once."""
        new_words: set[str] = set()
        words, texts, seen = _Hashes(), _Hashes(), set[int]()
        for parsed in documents:
            if len(seen) < _MOST and parsed.symbols.strip():
                seen.add(_hash_of_document(parsed.symbols))
            for context in parsed.contexts:
                new_words.update(context.words)
            if len(new_words) > _BETWEEN_MERGES:
                words.add(_hash(word.lower()) for word in new_words)
                new_words.clear()
            text = unit_text(parsed)
            texts.add(_hash(normal(text_of(span, text))) for of_task in parsed.gold for span in of_task or ())
        words.add(_hash(word.lower()) for word in new_words)
        by = {_hash_of_document(parsed.symbols) for parsed in islice(chosen_by, _MOST) if parsed.symbols.strip()}
        return cls(words.merged()[0], *texts.merged(), _in_order(seen), _in_order(by - seen))

    def after(self, former: Profile) -> Profile:
        """Return the profile of a model that went on from one with the profile ``former``: what either has seen."""
        texts, at = np.unique(np.concatenate([former.texts, self.texts]), return_inverse=True)
        counts = np.bincount(at, np.concatenate([former.counts, self.counts]), minlength=len(texts))
        documents = np.union1d(former.documents, self.documents)
        chosen_by = np.union1d(former.chosen_by, self.chosen_by)
        return Profile(
            np.union1d(former.words, self.words),
            texts,
            counts.astype(np.uint32),
            documents,
            np.setdiff1d(chosen_by, documents),
        )

    def knows(self, symbols: str) -> bool:
        """Whether a document with just this text is in the training data; never where there is no text."""
        return _has(self.documents, symbols)

    def was_chosen_by(self, symbols: str) -> bool:
        """Whether a document with just this text is in the validation data, and not in the training data."""
        return _has(self.chosen_by, symbols)

    def count(self, text: str) -> int:
        """Return how often a text is an entity in the training data."""
        value = _hash(normal(text))
        at = int(np.searchsorted(self.texts, value))
        return int(self.counts[at]) if at < len(self.texts) and self.texts[at] == value else 0

    def unknown(self, words: Iterable[str]) -> list[bool]:
        """Return which words do not stand in the training data."""
        known, given = self._known, list(words)
        new = [word for word in dict.fromkeys(given) if word not in known]
        if len(known) > _MOST_LOOKED_UP:
            known.clear()
            new = list(dict.fromkeys(given))
        if new:
            values = np.array([_hash(word.lower()) for word in new], np.uint32)
            at = np.minimum(np.searchsorted(self.words, values), max(0, len(self.words) - 1))
            found = self.words[at] == values if len(self.words) else np.zeros(len(new), np.bool_)
            known.update(zip(new, found.tolist(), strict=True))
        return [not known[word] for word in given]

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the numbers as base64 of little-endian integers."""
        return {
            name: base64.b64encode(getattr(self, name).astype(dtype).tobytes()).decode()
            for name, dtype in _TYPES.items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Profile:
        """Return the profile that ``to_json`` wrote. Raises CheckpointError for anything else."""
        try:
            given = {"documents": "", "chosen_by": "", **value}
            arrays = {n: np.frombuffer(base64.b64decode(given[n], validate=True), of) for n, of in _TYPES.items()}
        except (KeyError, TypeError, ValueError) as error:
            names = "words, texts, counts and documents"
            raise CheckpointError(f"expected {names} in base64, got {value!r:.100}") from error
        found = cls(**arrays)
        if len(found.texts) != len(found.counts):
            raise CheckpointError("expected as many counts as texts")
        return found


def _in_order(hashes: set[int]) -> NDArray[np.uint64]:
    return np.sort(np.fromiter(hashes, np.uint64, len(hashes)))


def _has(hashes: NDArray[np.uint64], symbols: str) -> bool:
    if not len(hashes) or not symbols.strip():
        return False
    value = np.uint64(_hash_of_document(symbols))
    at = int(np.searchsorted(hashes, value))
    return at < len(hashes) and bool(hashes[at] == value)


class _Hashes:
    """Different hashes, with how often each was given: in arrays, but for the last ones."""

    def __init__(self) -> None:
        self._values, self._counts = np.zeros(0, np.uint32), np.zeros(0, np.uint32)
        self._new: Counter[int] = Counter()

    def add(self, hashes: Iterable[int]) -> None:
        """Count hashes."""
        self._new.update(hashes)
        if len(self._new) > _BETWEEN_MERGES:
            self.merged()

    def merged(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return the different hashes, in order, with their counts."""
        values = np.fromiter(self._new, np.uint32, len(self._new))
        counts = np.fromiter(self._new.values(), np.uint32, len(self._new))
        self._new.clear()
        if len(self._values) >= _MOST:
            known = np.isin(values, self._values)
            values, counts = values[known], counts[known]
        self._values, at = np.unique(np.concatenate([self._values, values]), return_inverse=True)
        self._counts = np.bincount(at, np.concatenate([self._counts, counts])).astype(np.uint32)
        return self._values, self._counts


def _hash_of_document(symbols: str) -> int:
    return int.from_bytes(digest_of(symbols)[:8], "little")


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))
