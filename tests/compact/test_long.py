"""Contexts of very many units: the same features, made a window at a time."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest

from papermage_compact import layout, windowing
from papermage_compact.metadata import Column
from papermage_compact.plugin import CompactConfig
from papermage_core.plugin import Context

COLUMNS = (Column("kind", values=("a", "b")), Column("number", bounds=(0.2, 0.5)))


def context(n: int, seed: int = 0) -> Context:
    """Return units on some pages, with what an encoder may look at."""
    random = np.random.default_rng(seed)
    words = np.array([f"w{i}" for i in range(50)] + ["(", ")", "The", "1998"], object)
    corners = np.sort(random.random((n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32)
    corners[random.random(n) < 0.05] = np.nan
    return Context(
        words=words[random.integers(len(words), size=n)].tolist(),
        space_before=random.random(n) < 0.8,
        boxes=corners,
        pages=np.where(np.isnan(corners[:, 0]), -1, np.arange(n) * 3 // n).astype(np.int32),
        groups={"rows": np.where(random.random(n) < 0.1, -1, np.cumsum(random.random(n) < 0.1)).astype(np.int32)},
        metadata={
            "fontname": random.choice(["A+B", "C+B", "Times-Bold"], n).tolist(),
            "size": random.choice([9.5, 10.0], n).tolist(),
            "kind": random.choice(["a", "b", "c"], n).tolist(),
            "number": random.random(n).tolist(),
        },
    )


def encoder(layout: str, max_length: int = 16):
    given = {"layout": layout, "lines": "off" if layout == "on" else "on", "rows": 300, "width": 16}
    columns = tuple(column.dump() for column in COLUMNS)
    keys = tuple(column.key for column in COLUMNS)
    return CompactConfig(**given, max_length=max_length, metadata=keys, metadata_columns=columns).build()


@pytest.mark.parametrize("with_layout", ["on", "off"])
def test_features_are_the_same_a_window_at_a_time(monkeypatch, with_layout):
    contexts = [context(9), context(70, 1), context(0), context(33, 2)]
    made = encoder(with_layout)
    wanted = made.windows(contexts, stride=4)
    monkeypatch.setattr(windowing, "_MOST", 20)
    monkeypatch.setattr(layout, "_BLOCK", 7)
    found = made.windows(contexts, stride=4)
    assert isinstance(found[1][0].features, windowing._Later)
    for of_context, expected_of_context in zip(found, wanted, strict=True):
        for window, expected in zip(of_context, expected_of_context, strict=True):
            assert (window.start, window.stop, window.cost) == (expected.start, expected.stop, expected.cost)
            for features in (window.features, pickle.loads(pickle.dumps(window.features))):
                assert set(features) == set(expected.features)
                for name, array in expected.features.items():
                    assert features[name].dtype == array.dtype
                    assert features[name].tobytes() == array.tobytes(), name


def test_the_features_of_a_long_context_are_never_there_all_at_once():
    given, made = context(100_000), encoder("on", max_length=512)
    tracemalloc.start()
    try:
        (windows,) = made.windows([given], stride=32)
        for window in windows:
            assert sum(array.nbytes for array in dict(window.features).values()) > 150 * len(window.features["key"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * len(given)  # they are 190 bytes a unit, and what they are made of was thousands
