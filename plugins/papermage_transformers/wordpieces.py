"""Units → wordpieces, each distinct word tokenized once.

A fast tokenizer that is given words encodes each of them by itself, whatever stands around it. So the wordpieces of a
corpus are a table of its distinct words, and numpy puts the table's rows together.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WordpieceTable", "bare", "ragged_positions"]

_MOST_WORDS = 500_000
_CHUNK = 512


class WordpieceTable:
    """Wordpieces of words, remembered.

    Words that touch the one before are encoded as the tokenizer encodes the inside of a word, if it can tell:
    byte-level and sentencepiece tokenizers can (``Ġword``, ``▁word``). The text of a document is never read as a
    special token, not even ``[SEP]``. A word without a wordpiece (an empty one, a soft hyphen) gets ``filler``.
    """

    _rows: tuple[dict[str, int], dict[str, int]]
    """Word after a space, and touching word → its row in `_starts` and `_counts`."""
    _ids: NDArray[np.int32]
    _starts: NDArray[np.int64]
    _counts: NDArray[np.int32]

    def __init__(self, tokenizer: Tokenizer, filler: int) -> None:
        spaced, touching, self._prefix = _space_styles(json.loads(tokenizer.to_str()))
        self.marks_spaces = touching is not None
        self._tokenizers = [bare(json.dumps(spec)) for spec in (spaced, touching) if spec is not None]
        self.filler = filler
        added = tokenizer.get_added_tokens_decoder().items()
        self._specials = np.array([id for id, token in added if token.special and id != filler], np.int32)
        self._lock = threading.Lock()
        self._forget()

    def encode(
        self, words: Sequence[str], space_before: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the ids of all words in a row, and the number of ids, at least one, of each. Shapes (any,), (n,)."""
        with self._lock:
            if sum(map(len, self._rows)) > _MOST_WORDS:
                self._forget()
            if self.marks_spaces:
                rows = np.empty(len(words), np.int64)
                rows[space_before] = self._find(0, list(compress(words, space_before)))
                rows[~space_before] = self._find(1, list(compress(words, ~space_before)))
            else:
                rows = self._find(0, words)
            counts = self._counts[rows]
            return self._ids[ragged_positions(self._starts[rows], counts)], counts

    def _find(self, style: int, words: Sequence[str]) -> NDArray[np.int64]:
        table = self._rows[style]
        rows = list(map(table.get, words))
        if None in rows:
            self._add(style, [word for word in dict.fromkeys(words) if word not in table])
            rows = list(map(table.get, words))
        return np.array(rows, np.int64)

    def _add(self, style: int, words: list[str]) -> None:
        prefix = "" if style else self._prefix
        chunks = [[prefix + word for word in words[i : i + _CHUNK]] for i in range(0, len(words), _CHUNK)]
        encoded = self._tokenizers[style].encode_batch(chunks, is_pretokenized=True, add_special_tokens=False)
        ids, counts = [self._ids], [self._counts]
        for chunk, encoding in zip(chunks, encoded, strict=True):
            found = np.bincount(np.array(encoding.word_ids, np.int64), minlength=len(chunk)).astype(np.int32)
            bare = np.flatnonzero(found == 0)
            pieces = np.array(encoding.ids, np.int32)
            pieces[np.isin(pieces, self._specials)] = self.filler  # a unigram model may have "</s>" among its pieces
            ids.append(np.insert(pieces, np.cumsum(found)[bare], self.filler))
            counts.append(np.maximum(found, 1))
        table = self._rows[style]
        table.update(zip(words, range(len(self._counts), len(self._counts) + len(words)), strict=True))
        self._ids, self._counts = np.concatenate(ids), np.concatenate(counts)
        self._starts = np.cumsum(self._counts, dtype=np.int64) - self._counts

    def _forget(self) -> None:
        self._rows = ({}, {})
        self._ids = np.empty(0, np.int32)
        self._counts = np.empty(0, np.int32)
        self._starts = np.empty(0, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in _KEPT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._forget()


_KEPT = {"_prefix", "marks_spaces", "_tokenizers", "filler", "_specials"}


def ragged_positions(starts: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return ``starts[0], starts[0]+1, … (counts[0] of them), starts[1], …`` in one array.

    >>> ragged_positions(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum(), dtype=np.int64)


def bare(spec: str) -> Tokenizer:
    """Return the tokenizer of a JSON spec so that it neither cuts, pads, nor reads special tokens out of text."""
    tokenizer = Tokenizer.from_str(spec)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _space_styles(spec: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    """Return tokenizer specs for words after a space and for touching ones, and what to write before the former.

    The second is None where the tokenizer does not tell the two apart.
    """
    kinds = [part["type"] for part in _parts(spec.get("pre_tokenizer"), "pretokenizers")]
    normalizers = _parts(spec.get("normalizer"), "normalizers")
    if "ByteLevel" in kinds:
        plain = _with(spec, "ByteLevel", add_prefix_space=False)
        if {"WhitespaceSplit", "Whitespace", "BertPreTokenizer"} & set(kinds):  # a written space would be lost
            marked = any(p.get("add_prefix_space") for p in _parts(spec["pre_tokenizer"], "pretokenizers"))
            return (spec, plain, "") if marked else (spec, None, "")
        return plain, plain, " "
    if "Metaspace" in kinds:
        return _with(spec, "Metaspace", prepend_scheme="always"), _with(spec, "Metaspace", prepend_scheme="never"), ""
    if any(part["type"] == "Prepend" for part in normalizers):
        return spec, _without_prepend(spec), ""
    if any(
        part["type"] == "Replace" and part["pattern"] == {"String": " "} and part["content"] for part in normalizers
    ):
        return spec, spec, " "  # Gemma: a space becomes a mark before anything is cut
    return spec, None, ""


def _parts(node: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if node is None:
        return []
    return [part for child in node[key] for part in _parts(child, key)] if node["type"] == "Sequence" else [node]


def _with(spec: dict[str, Any], kind: str, **changes: Any) -> dict[str, Any]:
    def change(node: dict[str, Any]) -> dict[str, Any]:
        if node["type"] == "Sequence":
            return {**node, "pretokenizers": [change(child) for child in node["pretokenizers"]]}
        return {**node, **changes} if node["type"] == kind else node

    return {**spec, "pre_tokenizer": change(spec["pre_tokenizer"])}


def _without_prepend(spec: dict[str, Any]) -> dict[str, Any]:
    kept = [part for part in _parts(spec["normalizer"], "normalizers") if part["type"] != "Prepend"]
    return {**spec, "normalizer": {"type": "Sequence", "normalizers": kept}}
