from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from papermage_core.data import pieces as pieces_module
from papermage_core.data.cache import FeatureCache
from papermage_core.data.pieces import make_pieces
from papermage_core.plugin.spec import Context, Window


def context(*words: str, **more: Any) -> Context:
    return Context(words=words, space_before=np.ones(len(words), np.bool_), **more)


class Encoder:
    """Counts letters; remembers how often it was asked; may have a vocabulary."""

    def __init__(self, vocabulary: str = "v1") -> None:
        self.calls = 0
        self.vocabulary = vocabulary

    def windows(self, contexts: Any, *, stride: int) -> list[list[Window]]:
        self.calls += 1
        return [[self.window(c, s) for s in range(0, len(c), 3)] for c in contexts]

    def window(self, c: Context, start: int) -> Window:
        stop = min(start + 3, len(c))
        lengths = np.array([len(word) for word in c.words[start:stop]], np.int32)
        grid = np.arange(2 * int(lengths.sum()), dtype=np.float16).reshape(-1, 2)
        return Window(start, stop, {"lengths": lengths, "grid": grid}, stop - start)

    def save(self, folder: Path) -> None:
        (folder / "vocabulary.txt").write_text(self.vocabulary)


CONTEXTS = [context("a", "bb", "ccc", "dddd"), context(), context("e")]


def same(one: Any, other: Any) -> bool:
    return all(
        [(w.start, w.stop, w.cost) for w in a.windows] == [(w.start, w.stop, w.cost) for w in b.windows]
        and all(
            np.array_equal(v.features[n], w.features[n]) and v.features[n].dtype == w.features[n].dtype
            for v, w in zip(a.windows, b.windows, strict=True)
            for n in v.features
        )
        for a, b in zip(one, other, strict=True)
    )


def test_what_was_kept_is_what_would_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "_WORTH_KEEPING", -1)
    encoder, cache = Encoder(), FeatureCache(tmp_path, {"name": "letters"})
    first = make_pieces(encoder, CONTEXTS, 1, cache)  # type: ignore[arg-type]
    again = make_pieces(encoder, CONTEXTS, 1, cache)  # type: ignore[arg-type]
    assert encoder.calls == 1
    assert same(first, again)
    assert same(first, make_pieces(encoder, CONTEXTS, 1))  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    "change",
    [
        {"contexts": [context("a", "bb", "ccc", "dddX"), context(), context("e")]},
        {"contexts": [context("a", "bb", "ccc"), context("dddd"), context("e")]},
        {"contexts": [attrs.evolve(CONTEXTS[0], metadata={"font": ["x"] * 4}), *CONTEXTS[1:]]},
        {"contexts": [attrs.evolve(CONTEXTS[0], space_before=np.zeros(4, np.bool_)), *CONTEXTS[1:]]},
        {"stride": 2},
        {"made_by": {"name": "letters", "version": "2"}},
        {"vocabulary": "v2"},
    ],
)
def test_anything_that_shapes_the_features_changes_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    def key(
        contexts: Any = CONTEXTS,
        stride: int = 1,
        made_by: Any = {"name": "letters"},  # noqa: B006 - only read
        vocabulary: str = "v1",
    ) -> str:
        return FeatureCache(tmp_path, made_by).key(Encoder(vocabulary), contexts, stride)  # type: ignore[arg-type]

    assert key() == key()
    assert key(**change) != key()


def test_a_damaged_entry_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "_WORTH_KEEPING", -1)
    encoder, cache = Encoder(), FeatureCache(tmp_path, {})
    make_pieces(encoder, CONTEXTS, 1, cache)  # type: ignore[arg-type]
    for path in tmp_path.rglob("windows.npy"):
        path.write_bytes(b"broken")
    assert same(make_pieces(encoder, CONTEXTS, 1, cache), make_pieces(encoder, CONTEXTS, 1))  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "_WORTH_KEEPING", -1)
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = make_pieces(Encoder(), CONTEXTS, 1, FeatureCache(blocked, {}))  # type: ignore[arg-type]
    assert len(found) == 3
