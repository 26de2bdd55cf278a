"""Given word vectors: the embedding matrix of a Hugging Face model, or a text file, compressed for the checkpoint.

Vectors are centred, turned to their principal axes, cut to the first few, scaled to unit variance, and rounded to eight
bits a value with one scale a row. Training sees what was rounded, so a checkpoint predicts with the same vectors.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from papermage_compact.hashing import U64, code_points, hash_runs
from papermage_core.errors import ConfigError
from papermage_core.files import download
from papermage_transformers.extra import require
from papermage_transformers.folder import TOKENIZER, ModelFolder

__all__ = ["Vectors", "compress", "load_vectors", "restore_vectors"]

_FILE = "vectors.safetensors"
_NAMES = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight", "wte.weight", "shared.weight")
_LONGEST = 100  # characters of a word that a tokenizer is shown
_LONGEST_LINE = 1 << 20  # characters of a line of a text file


class _Index(Protocol):
    """Finds the rows of a word."""

    def __call__(self, words: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...

    def save(self, folder: Path) -> dict[str, torch.Tensor]:
        """Write files of its own, and return tensors to be kept beside the vectors."""
        ...


class Vectors:
    """A table of vectors, rounded to eight bits, and the way from words to its rows."""

    def __init__(self, rounded: torch.Tensor, scales: torch.Tensor, index: _Index, digest: str = "") -> None:
        self._rounded = rounded  # int8, shape (rows, size)
        self._scales = scales  # float32, shape (rows, 1)
        self.pieces = index
        self.size = rounded.shape[1]
        self.digest = digest
        """What tells them from others: a hash of what was given, as rounding may differ between machines."""

    def matrix(self) -> torch.Tensor:
        """Return the vectors as float32. Shape (rows, size)."""
        return self._rounded.float() * self._scales

    def save(self, folder: Path) -> None:
        """Write what `restore_vectors` reads."""
        tensors = {"rounded": self._rounded, "scales": self._scales} | self.pieces.save(folder)
        save_file(tensors, folder / _FILE)


class _Wordpieces:
    """Rows are the ids that a fast tokenizer gives to a word in running text."""

    def __init__(self, text: str, rows: int) -> None:
        """Take the JSON of a tokenizer. Raises ValueError where it has ids beyond ``rows``."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self(["a", "protein", "12", "\ue000"])  # known words and an unknown one: what fails, fails here
        largest = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= rows:
            raise ValueError(f"it has wordpieces up to {largest:,}, and there are {rows:,} vectors")

    def __call__(self, words: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        spaced = [f" {word[:_LONGEST]}" if word.strip() else "" for word in words]  # as byte-level models saw words
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(spaced, add_special_tokens=False)]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return np.fromiter(chain.from_iterable(encoded), np.uint32, int(lengths.sum())), lengths

    def save(self, folder: Path) -> dict[str, torch.Tensor]:
        (folder / TOKENIZER).write_text(self._tokenizer.to_str(), encoding="utf-8")
        return {}


class _WholeWords:
    """Rows are found by a hash of the word: as it is, or else in lower case."""

    def __init__(self, keys: U64) -> None:
        self._keys = keys  # of row 0, row 1, …
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def __call__(self, words: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        rows, known = self._find(words)
        lower, known_lower = self._find([word.lower() for word in words])
        found = np.where(known, rows, lower)[known | known_lower]
        return found.astype(np.uint32), (known | known_lower).astype(np.int64)

    def _find(self, words: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        keys = hash_runs(*code_points(words))
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._order[place], self._sorted[place] == keys

    def save(self, folder: Path) -> dict[str, torch.Tensor]:
        return {"keys": torch.from_numpy(self._keys.view(np.int64))}


def compress(matrix: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first ``size`` principal components of the rows, as int8 and a scale a row; fewer if there are fewer.

    The values are scaled to variance one over the table, before rounding.
    """
    centred = (matrix - matrix.mean(0)).double()
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :size]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # eigenvectors have no sign of their own
    reduced = (centred @ axes).float()
    reduced = reduced / reduced.std().clamp(min=1e-12)
    scales = reduced.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (reduced / scales).round().to(torch.int8), scales


def load_vectors(source: str, size: int, most_rows: int) -> Vectors:
    """Return the vectors of a model folder, a hub name, or a text file of at most ``most_rows`` words that count.

    Raises ConfigError that names ``encoder.vectors`` for what cannot be read.
    """
    path = Path(source).expanduser()
    if path.is_file():
        words, matrix = _read_text(path, most_rows)
        return Vectors(*compress(matrix, size), _WholeWords(hash_runs(*code_points(words))), _digest(matrix, size))
    if not path.is_dir():
        path = download("encoder.vectors", source, None, _needed)
    weights = sorted(path.glob("*.safetensors"))
    if not (path / TOKENIZER).is_file() or not weights:
        missing = TOKENIZER if not (path / TOKENIZER).is_file() else "model.safetensors"
        raise ConfigError(
            f"encoder.vectors={source}: has no {missing}; expected a model with a fast tokenizer and safetensors"
        )
    require("tokenizers", "encoder.vectors of a Hugging Face model")
    matrix = _embedding_matrix(source, weights)
    with _explained(path / TOKENIZER):
        index = _Wordpieces((path / TOKENIZER).read_text(encoding="utf-8"), len(matrix))
    return Vectors(*compress(matrix, size), index, _digest(matrix, size))


def _digest(matrix: torch.Tensor, size: int) -> str:
    """Return a hash of vectors and of the size that they are cut to."""
    found = hashlib.sha256(f"{tuple(matrix.shape)} {size}".encode())
    found.update(matrix.contiguous().numpy().tobytes())
    return found.hexdigest()


def restore_vectors(folder: Path) -> Vectors:
    """Return the vectors that `Vectors.save` wrote. Raises CheckpointError where they are not there, or damaged."""
    door = ModelFolder(folder, is_checkpoint=True)
    if not door.has(_FILE):
        raise door.damaged(_FILE, "is missing")
    with door.using(_FILE):
        tensors = load_file(folder / _FILE)
        rounded, scales, keys = tensors["rounded"], tensors["scales"], tensors.get("keys")
        rows = len(rounded)
        sound = rounded.dtype == torch.int8 and rounded.ndim == 2 and rounded.numel() > 0
        sound = sound and scales.dtype == torch.float32 and scales.shape == (rows, 1) and bool(scales.isfinite().all())
        if not sound or not (keys is None or (keys.dtype == torch.int64 and keys.shape == (rows,))):
            raise ValueError("it does not hold vectors")
    if keys is not None:
        return Vectors(rounded, scales, _WholeWords(keys.numpy().view(np.uint64)))
    require("tokenizers", "the model, which has vectors of a Hugging Face model,")
    text = door.read(TOKENIZER)
    with door.using(TOKENIZER):
        return Vectors(rounded, scales, _Wordpieces(text, rows))


def _needed(files: Collection[str]) -> list[str]:
    """Return which files of a hub model to fetch."""
    return [name for name in files if name == TOKENIZER or ("/" not in name and name.endswith(".safetensors"))]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a library raises over a file into a ConfigError that names it."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(f"encoder.vectors: {path} cannot be read: {cause.rstrip('.')}") from error


def _embedding_matrix(source: str, files: Iterable[Path]) -> torch.Tensor:
    """Return the input embeddings of a model as float32, whatever it calls them."""
    for path in files:
        with _explained(path), safe_open(path, framework="pt") as weights:
            names = list(weights.keys())
            for ending in _NAMES:
                for name in names:
                    if name.endswith(ending):
                        found: torch.Tensor = weights.get_tensor(name).float()
                        if found.ndim != 2 or len(found) < 2 or not found.isfinite().all():
                            raise ValueError(f"{name} does not hold vectors")
                        return found
    raise ConfigError(f"encoder.vectors={source}: found no input embeddings; expected a tensor *.{', *.'.join(_NAMES)}")


def _read_text(path: Path, most_rows: int) -> tuple[list[str], torch.Tensor]:
    """Return the words and vectors of a word2vec or GloVe text file, with or without a first line of counts."""
    opener = gzip.open if path.suffix == ".gz" else open
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    with _explained(path), opener(path, "rt", encoding="utf-8", errors="replace") as file:
        for number, word, values in _vector_lines(path, file):
            if rows and len(values) != len(rows[0]):
                raise ConfigError(
                    f"encoder.vectors={path}: line {number} has {len(values)} numbers, expected {len(rows[0])}"
                )
            words.append(word)
            rows.append(values)
            if len(rows) == most_rows:
                break
    if len(rows) < 2:
        raise ConfigError(f"encoder.vectors={path}: holds no vectors; expected lines of a word and its numbers")
    return words, torch.from_numpy(np.stack(rows))


def _vector_lines(path: Path, file: IO[str]) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    size = None
    for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), ""), 1):
        parts = line.rstrip().split(" ")
        if number == 1 and len(parts) == 2 and all(map(str.isdigit, parts)):
            size = int(parts[1])
            continue
        size = size or len(parts) - 1
        try:
            values = np.array(parts[-size:], np.float32)
            if len(line) == _LONGEST_LINE or not np.isfinite(values).all():
                raise ValueError("a number is not finite, or the line has no end")
        except ValueError as error:
            raise ConfigError(
                f"encoder.vectors={path}: line {number} is not a word and its numbers: {error}"
            ) from error
        yield number, " ".join(parts[:-size]), values
