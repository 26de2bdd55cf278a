"""The one door through which a model comes: a folder, of which nothing is believed before it is checked.

Nothing but the folder is read, nothing is downloaded, no code of the folder runs, and no number of a config makes
anything larger than the weights that are there.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from papermage_core.errors import CheckpointError, ConfigError, PapermageError

__all__ = ["CONFIG", "TOKENIZER", "TOKENIZER_CONFIG", "Limits", "ModelFolder"]

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"

_LONGEST_FILE = 1 << 29
_LARGEST_NUMBER = 1 << 24  # of a config: above every width, length and vocabulary there is
_MOST_TENSORS = 30_000  # of a model whose file does not say
_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 40  # bytes
_ATTENTIONS = (None, False, True, "eager", "sdpa")  # transformers 4 writes whether it chose
_UNUSED = frozenset({
    "_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype", "num_labels", "id2label",
    "label2id", "problem_type", "return_dict", "torchscript", "output_hidden_states", "output_attentions", "use_cache",
})  # fmt: skip
"""Keys of a config that shape no weights: where the model came from, and what heads and generation want."""


@attrs.frozen
class Limits:
    """How large a model may be to be made."""

    numbers: int
    """Most values that its parameters and buffers may hold."""
    tensors: int
    """Most parameters that it may have."""


@attrs.frozen
class ModelFolder:
    """A folder that holds a model."""

    path: Path
    is_checkpoint: bool
    """Whether the encoder's `save` wrote it; else a user named it."""

    def error(self, name: str, what: str) -> PapermageError:
        """Return what to raise for a file of the folder that ``what`` is the matter with: a predicate."""
        if self.is_checkpoint:
            return CheckpointError(f"{self.path / name} {what}")
        return ConfigError(f"encoder.model_name_or_path: {self.path / name} {what}")

    def damaged(self, name: str, what: str) -> PapermageError:
        """Return the error for a file that cannot be what was written there."""
        again = "Copy the whole checkpoint again" if self.is_checkpoint else "Download or copy the whole model again"
        return self.error(name, f"{what}. {again}")

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Turn whatever a library raises over a file of the folder into an error that names it."""
        try:
            yield
        except (PapermageError, MemoryError):
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of Rust, in tokenizers
                raise
            cause = " ".join(str(error).split())[:300].rstrip(".:")
            if isinstance(error, (AttributeError, LookupError, TypeError)) or not cause:
                cause = f"{type(error).__name__}: {cause}"
            raise self.damaged(name, f"cannot be used: {cause}") from error

    def has(self, name: str) -> bool:
        """Whether the folder has something of this name."""
        return (self.path / name).exists()

    def read(self, name: str) -> str:
        """Return the text of a file, which must be a regular one of a sane size."""
        if not self.has(name):
            raise self.damaged(name, "is missing")
        with self.using(name):
            found = (self.path / name).stat()
            if not stat.S_ISREG(found.st_mode):
                raise self.damaged(name, "is no regular file")
            if found.st_size > _LONGEST_FILE:
                raise self.damaged(name, f"has {found.st_size:,} bytes, more than any such file")
            return (self.path / name).read_text(encoding="utf-8")

    def read_object(self, name: str) -> dict[str, Any]:
        """Return the JSON object that a file holds."""
        text = self.read(name)
        with self.using(name):
            found = json.loads(text)
        if not isinstance(found, dict):
            raise self.damaged(name, f"holds a JSON {type(found).__name__}; expected an object")
        return found

    def model_type(self) -> str:
        """Return the ``model_type`` that the config states, such as ``"bert"``; empty where it states none."""
        return str(self.read_object(CONFIG).get("model_type") or "")

    def read_config(self) -> dict[str, Any]:
        """Return what the model's config says of its architecture."""
        found = self.read_object(CONFIG)
        self.refuse_code(CONFIG, found)
        for path, key, value in _items(found):
            with self.using(CONFIG):  # numbers that are no floats
                self._check_item(path, key, value)
        return {key: value for key, value in found.items() if key not in _UNUSED}

    def refuse_code(self, name: str, found: dict[str, Any]) -> None:
        """Raise where a config names code to be run with the model."""
        with self.using(name):  # deep nesting
            path = next((path for path, key, value in _items(found) if key == "auto_map" and value), None)
        if path is not None:
            raise self.error(
                name,
                f"names code that comes with the model ({path}), which is never run: expected a model whose kind "
                "transformers knows itself, without auto_map",
            )

    def _check_item(self, path: str, key: str, value: Any) -> None:
        if ("attn_implementation" in key or "experts_implementation" in key) and value not in _ATTENTIONS:
            raise self.error(CONFIG, f"has {path}={value!r}, which may be code from elsewhere: expected eager or sdpa")
        if value and any(part in key for part in ("backbone", "timm", "detectron")):
            raise self.error(CONFIG, f"has {path}, a part of models of images: expected an encoder of text")
        if value and key == "quantization_config":
            raise self.error(CONFIG, "is of quantized weights, which cannot be trained: expected the model before that")
        is_number = isinstance(value, (int, float)) and "theta" not in key
        if is_number and abs(value) > _LARGEST_NUMBER and float(value).is_integer():
            raise self.error(CONFIG, f"has {path}={value:.4g}: expected a number below {_LARGEST_NUMBER:,}")

    def weight_files(self) -> list[Path]:
        """Return the files of weights: of a checkpoint those beside the folder, if any."""
        if self.is_checkpoint:
            beside = (self.path.parent / "model.safetensors", *sorted(self.path.parent.glob("model*.onnx")))
            return [path for path in beside if path.is_file()]
        for whole, index in (
            ("model.safetensors", "model.safetensors.index.json"),
            ("pytorch_model.bin", "pytorch_model.bin.index.json"),
        ):
            if self.has(whole):
                return [self.path / whole]
            if self.has(index):
                return self._shards(index)
        raise self.damaged("model.safetensors", "is missing, and so is pytorch_model.bin")

    def _shards(self, index: str) -> list[Path]:
        placed = self.read_object(index).get("weight_map")
        names = set(placed.values()) if isinstance(placed, dict) else set()
        for name in names:
            if not isinstance(name, str) or Path(name).name != name:
                raise self.error(index, f"names a file {name!r}: expected one of the folder")
            if not self.has(name):
                raise self.damaged(name, f"is missing, which {index} names")
        if not names:
            raise self.damaged(index, "names no files of weights")
        return sorted(self.path / name for name in names)

    def limits(self) -> Limits:
        """Return how large the model may be, which the headers of its weights say."""
        numbers, tensors, files = 0, 0, self.weight_files()
        for path in files:
            with self.using(path.name):
                found = _shapes(path)
            numbers += path.stat().st_size if found is None else sum(map(math.prod, found))
            tensors += _MOST_TENSORS if found is None else len(found)
        if not files:
            return Limits(_MEMORY // 4, _MOST_TENSORS)
        return Limits(min(_MEMORY // 4, 2 * numbers + (1 << 26)), tensors + 500)  # what the model has and needs not


def _shapes(path: Path) -> list[list[int]] | None:
    """Return the shapes of the tensors in a safetensors file, read from its header; None for another format."""
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="np") as file:
        return [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - it is no dict


def _items(node: Any, above: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield path, key and value of all that JSON objects in ``node`` hold, whatever the depth."""
    pairs = node.items() if isinstance(node, dict) else (("", value) for value in node)
    for key, value in pairs:
        path = f"{above}.{key}" if above and key else key or above
        yield path, key, value
        if isinstance(value, (dict, list)):
            yield from _items(value, path)
