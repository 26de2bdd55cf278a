"""Hashes against a slow oracle, and known values that no platform may change."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papermage_compact.hashing import buckets, code_points, hash_runs, hash_windows, mix, runs_of

MASK = (1 << 64) - 1
WORDS = st.lists(st.text(max_size=12), max_size=8)


def splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def slow_hash(word: str) -> int:
    total = sum((ord(char) + 1) * pow(0x9E3779B97F4A7C15, i, 1 << 64) for i, char in enumerate(word))
    return splitmix((total + len(word) * 0xD1342543DE82EF95) & MASK)


@given(WORDS)
def test_hashes_of_runs_are_those_of_the_formula(words):
    assert hash_runs(*code_points(words)).tolist() == [slow_hash(word) for word in words]


@given(st.text(max_size=20), st.integers(1, 5))
def test_hashes_of_windows_are_those_of_the_same_runs(text, size):
    codes, _ = code_points([text])
    assert hash_windows(codes, size).tolist() == [slow_hash(text[i : i + size]) for i in range(len(text) - size + 1)]


def test_mix_is_splitmix64():
    # the first outputs of the reference implementation for the seed 0
    states = np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_lone_surrogates_have_hashes_too():
    assert hash_runs(*code_points(["\ud800", "a"])).shape == (2,)


def test_buckets_fill_their_range_evenly():
    hashes = hash_runs(*code_points([f"word{i}" for i in range(20_000)]))
    counts = np.bincount(buckets(hashes, 100, 1), minlength=100)
    assert len(counts) == 100
    assert counts.min() > 120
    assert counts.max() < 290
    together = np.mean(buckets(hashes, 100, 1) == buckets(hashes, 100, 2))
    assert 0.005 < together < 0.015  # independent seeds agree once in a hundred


@given(st.lists(st.integers(0, 4), max_size=10))
def test_runs_are_counted_from_their_starts(lengths):
    starts, place = runs_of(np.array(lengths, np.int64))
    assert starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    assert place.tolist() == [i for length in lengths for i in range(length)]


def test_another_process_with_another_hash_seed_gives_the_same_features():
    code = (
        "from papermage_compact.words import word_features;"
        "f = word_features(['BRCA1', 'naïve'], {'word': 999, 'prefix': 400, 'suffix': 400, 'shape': 400}, 500);"
        "print(f.rows.tolist(), f.ngrams.values.tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
