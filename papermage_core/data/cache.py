"""Windows kept on disk between runs, under a key of all that made them.

::

    <cache>/features/<key>/
      windows.npy        start, stop and cost of each window          (windows, 3)
      counts.npy         windows of each context                      (contexts,)
      offsets-<i>.npy    where each window's rows of a feature begin  (windows + 1,)
      feature-<i>.npy    the rows of a feature, all windows joined
      names.json         the features' names, by i

Arrays are mapped, not read: a corpus larger than memory costs what a batch of it costs. A folder appears when it is
whole. Deleting the cache is always safe.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from papermage_core.plugin.spec import Context, ContextEncoder, Window

__all__ = ["FeatureCache"]

_log = logging.getLogger(__name__)
_LAYOUT = "1"


class FeatureCache:
    """Loads and stores the windows of contexts.

    ``made_by`` tells the encoder and its options, versions included. What the encoder saves (its tokenizer, say) is
    part of the key too, so that a model folder that changed in place is not mistaken for what it was.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self._folder = folder
        self._made_by = json.dumps(made_by, sort_keys=True, default=str)

    def key(self, encoder: ContextEncoder, contexts: Sequence[Context], stride: int) -> str:
        """Return the hash of the contexts and of everything that shapes their features."""
        digest = hashlib.sha256()
        digest.update(f"{_LAYOUT}\0{self._made_by}\0{stride}\0".encode())
        with tempfile.TemporaryDirectory() as folder:
            encoder.save(Path(folder))
            for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
        for context in contexts:
            _update(digest, context)
        return digest.hexdigest()[:32]

    def load(self, key: str) -> list[list[Window]] | None:
        """Return the windows of each context, or None where they are not kept."""
        folder = self._folder / key
        try:
            windows = np.load(folder / "windows.npy", allow_pickle=False)
            counts = np.load(folder / "counts.npy", allow_pickle=False)
            names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
            offsets = [np.load(folder / f"offsets-{i}.npy", allow_pickle=False) for i in range(len(names))]
            rows = [np.load(folder / f"feature-{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(names))]
        except (OSError, ValueError):
            return None
        _log.info("features taken from the cache, %s", folder)
        found = []
        for number, (start, stop, cost) in enumerate(windows.tolist()):
            features = {
                name: np.asarray(r[o[number] : o[number + 1]]) for name, r, o in zip(names, rows, offsets, strict=True)
            }
            found.append(Window(start, stop, features, cost))
        bounds = np.concatenate([[0], np.cumsum(counts)]).tolist()
        return [found[a:b] for a, b in pairwise(bounds)]

    def store(self, key: str, windows: Sequence[Sequence[Window]]) -> None:
        """Keep the windows of each context. Where the disk refuses, says so and goes on without."""
        flat = [window for of_context in windows for window in of_context]
        if not flat:
            return
        new = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
            names = list(flat[0].features)
            np.save(new / "windows.npy", np.array([(w.start, w.stop, w.cost) for w in flat], np.int64))
            np.save(new / "counts.npy", np.array([len(of_context) for of_context in windows], np.int64))
            (new / "names.json").write_text(json.dumps(names), encoding="utf-8")
            for i, name in enumerate(names):
                parts = [window.features[name] for window in flat]
                np.save(new / f"offsets-{i}.npy", np.cumsum([0, *map(len, parts)], dtype=np.int64))
                np.save(new / f"feature-{i}.npy", np.concatenate(parts))
            new.rename(self._folder / key)
        except OSError as error:
            if (self._folder / key).is_dir():
                return  # another run was faster
            _log.warning("features are not kept for the next run: %s", error)
        finally:
            if new is not None:
                shutil.rmtree(new, ignore_errors=True)


def _update(digest: Any, context: Context) -> None:
    """Add all that an encoder may see of a context, each part with its length so that none runs into the next."""
    parts = [
        "\0".join(context.words).encode("utf-8", "surrogatepass"),
        np.array([len(word) for word in context.words], np.int64).tobytes(),
        context.space_before.tobytes(),
        b"" if context.boxes is None else context.boxes.tobytes(),
        b"" if context.pages is None else context.pages.tobytes(),
    ]
    for name, group in context.groups.items():
        parts += [name.encode(), group.tobytes()]
    for key, column in context.metadata.items():
        parts += [key.encode(), repr(list(column)).encode("utf-8", "surrogatepass")]
    for part in parts:
        digest.update(f"{len(part)}\0".encode())
        digest.update(part)
