"""Word vectors made elsewhere: the embedding matrix of a Hugging Face model, or a text file; compressed to be carried.

Vectors are centred, turned to their principal axes, cut to the first few, scaled to unit variance, and rounded to eight
bits a value with one scale a row. Training sees what was rounded, so a checkpoint predicts with the same vectors.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from papermage_compact.hashing import U64, code_points, hash_runs
from papermage_core.errors import CheckpointError, ConfigError

__all__ = ["Vectors", "compress", "load_vectors", "restore_vectors"]

_FILE = "vectors.safetensors"
_TOKENIZER = "tokenizer.json"
_NAMES = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight", "wte.weight", "shared.weight")
_LONGEST = 100  # characters of a word that a tokenizer is shown


class _Index(Protocol):
    """Finds the rows of a word."""

    def __call__(self, words: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...

    def save(self, folder: Path) -> dict[str, torch.Tensor]:
        """Write files of its own, and return tensors to be kept beside the vectors."""
        ...


class Vectors:
    """A table of vectors, rounded to eight bits, and the way from words to its rows."""

    def __init__(self, rounded: torch.Tensor, scales: torch.Tensor, index: _Index) -> None:
        self._rounded = rounded  # int8, shape (rows, size)
        self._scales = scales  # float32, shape (rows, 1)
        self.pieces = index

    def matrix(self) -> torch.Tensor:
        """Return the vectors as float32. Shape (rows, size)."""
        return self._rounded.float() * self._scales

    def save(self, folder: Path) -> None:
        """Write what `restore_vectors` reads."""
        tensors = {"rounded": self._rounded, "scales": self._scales} | self.pieces.save(folder)
        save_file(tensors, folder / _FILE)


class _Wordpieces:
    """Rows are the ids that a fast tokenizer gives to a word in running text."""

    def __init__(self, text: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def __call__(self, words: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        spaced = [f" {word[:_LONGEST]}" if word.strip() else "" for word in words]  # as byte-level models saw words
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(spaced, add_special_tokens=False)]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return np.fromiter(chain.from_iterable(encoded), np.uint32, int(lengths.sum())), lengths

    def save(self, folder: Path) -> dict[str, torch.Tensor]:
        (folder / _TOKENIZER).write_text(self._tokenizer.to_str(), encoding="utf-8")
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
        return Vectors(*compress(matrix, size), _WholeWords(hash_runs(*code_points(words))))
    tokenizer, weights = _model_files(source, path)
    matrix = _embedding_matrix(source, weights)
    return Vectors(*compress(matrix, size), _Wordpieces(tokenizer.read_text(encoding="utf-8")))


def restore_vectors(folder: Path) -> Vectors | None:
    """Return the vectors that `Vectors.save` wrote, or None if it wrote none."""
    if not (folder / _FILE).is_file():
        return None
    tensors = load_file(folder / _FILE)
    try:
        if "keys" in tensors:
            return Vectors(tensors["rounded"], tensors["scales"], _WholeWords(tensors["keys"].numpy().view(np.uint64)))
        tokenizer = (folder / _TOKENIZER).read_text(encoding="utf-8")
        return Vectors(tensors["rounded"], tensors["scales"], _Wordpieces(tokenizer))
    except (KeyError, OSError) as error:
        raise CheckpointError(f"{folder}: the word vectors of the encoder are incomplete: {error}") from error


def _model_files(source: str, folder: Path) -> tuple[Path, list[Path]]:
    """Return the tokenizer file and the weight files of a model."""
    if folder.is_dir():
        tokenizer, weights = folder / _TOKENIZER, sorted(folder.glob("*.safetensors"))
    else:
        tokenizer, weights = _download(source)
    if not tokenizer.is_file() or not weights:
        missing = _TOKENIZER if not tokenizer.is_file() else "model.safetensors"
        raise ConfigError(
            f"encoder.vectors={source}: has no {missing}; expected a model with a fast tokenizer and safetensors"
        )
    return tokenizer, weights


def _download(name: str) -> tuple[Path, list[Path]]:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=[_TOKENIZER, "*.safetensors"]))
    except Exception as error:  # the hub client has a dozen kinds of its own
        raise ConfigError(
            f"encoder.vectors={name}: no such file or folder here, and not to be had from the Hugging Face hub "
            f"({type(error).__name__}); give the path of a model folder or of a text file of vectors"
        ) from error
    return folder / _TOKENIZER, sorted(folder.glob("*.safetensors"))


def _embedding_matrix(source: str, files: Iterable[Path]) -> torch.Tensor:
    """Return the input embeddings of a model as float32, whatever it calls them."""
    for path in files:
        with safe_open(path, framework="pt") as weights:
            names = list(weights.keys())
            for ending in _NAMES:
                for name in names:
                    if name.endswith(ending):
                        found: torch.Tensor = weights.get_tensor(name)
                        return found.float()
    raise ConfigError(f"encoder.vectors={source}: found no input embeddings; expected a tensor *.{', *.'.join(_NAMES)}")


def _read_text(path: Path, most_rows: int) -> tuple[list[str], torch.Tensor]:
    """Return the words and vectors of a word2vec or GloVe text file, with or without a first line of counts."""
    opener = gzip.open if path.suffix == ".gz" else open
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    with opener(path, "rt", encoding="utf-8", errors="replace") as file:
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
    for number, line in enumerate(file, 1):
        parts = line.rstrip().split(" ")
        if number == 1 and len(parts) == 2 and all(map(str.isdigit, parts)):
            size = int(parts[1])
            continue
        size = size or len(parts) - 1
        try:
            yield number, " ".join(parts[:-size]), np.array(parts[-size:], np.float32)
        except ValueError as error:
            raise ConfigError(
                f"encoder.vectors={path}: line {number} is not a word and its numbers: {error}"
            ) from error
