"""One side of a comparison, in its own process: ``python -m benchmarks._transformers_peers SIDE DATA MODEL KEEP``.

Allocator and arithmetic settings hold for a whole process, so peers run without ours. Prints words per second, or an F1
in percent.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from papermage_core.document import Document, DocumentFile

clock = time.process_time if os.environ.get("BENCHMARK_CLOCK") == "cpu" else time.perf_counter
"""Seconds by the wall, or of this process on all cores: other work on the machine tells less on the latter."""
TAGS = ("O", "B-Disease", "I-Disease")
N_TRAIN, N_PREDICT = 20, 40
"""Documents of ``ncbi_disease`` that are trained and predicted on."""


def documents(folder: Path, split: str, n: int | None = None) -> list[Document]:
    return list(islice(DocumentFile(folder / f"{split}.jsonl"), n))


def sentences(docs: list[Document]) -> list[tuple[list[str], list[int]]]:
    """Words and tags (0 O, 1 B, 2 I) of each sentence."""
    found = []
    for doc in docs:
        begins = {entity.tokens[0].id for entity in doc.Disease}
        inside = {token.id for entity in doc.Disease for token in entity.tokens}
        for sentence in doc.sentences:
            tokens = list(sentence.tokens)
            tags = [1 if t.id in begins else 2 if t.id in inside else 0 for t in tokens]
            found.append(([t.text for t in tokens], tags))
    return found


def write_columns(folder: Path, split: str, target: Path, n: int | None = None) -> None:
    """Write the first ``n`` documents' sentences a word a line with its tag, as CoNLL does."""
    blocks = [
        "".join(f"{word} {TAGS[tag]}\n" for word, tag in zip(words, tags, strict=True))
        for words, tags in sentences(documents(folder, split, n))
    ]
    target.write_text("\n".join(blocks), encoding="utf-8")


def ours_train(corpus: Path, model: Path, keep: str) -> float:
    """The trainer as it comes on sentences, the second of two epochs, from its first step to its last."""
    docs = documents(corpus, "train", N_TRAIN)
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "train.jsonl"
        lines = (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()[:N_TRAIN]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return _train(data, "sentences", model, keep) * sum(len(doc.tokens) for doc in docs)


def ours_train_pages(data: Path, model: Path, keep: str) -> float:
    """The same on the pages of a file."""
    return _train(data, "pages", model, keep) * sum(len(doc.tokens) for doc in DocumentFile(data))


def _train(data: Path, context: str, model: Path, keep: str) -> float:
    """Epochs a second; the trained model is left in ``keep``."""
    from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
    from papermage_core.training.module import EntityModule

    times: list[float] = []
    original = EntityModule.training_step

    def timed(self: Any, *args: Any) -> Any:
        times.append(clock())
        return original(self, *args)

    EntityModule.training_step = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as name:
        config = EntityClassificationTrainConfig(
            data_path=str(data),
            label_field="Disease",
            context_name=context,
            model_name_or_path=str(model),
            val_split=0.0,
            max_epochs=2,
            default_root_dir=Path(name) / "run",
        )
        config.components().encoder.tune_process()  # as papermage-train does
        result = EntityClassificationTrainer(config).train()
        if keep and not Path(keep).exists():
            shutil.copytree(result.checkpoint, keep)
    return _rate(times, 1)


def ours_preprocess(data: Path, model: Path, keep: str) -> float:
    """File → batches of tensors with targets, as a run makes them before its first step, nothing taken from a cache."""
    from papermage_core.data.batches import BatchLimits, ExampleBatches, LengthSampler
    from papermage_core.data.issues import Issues
    from papermage_core.training import EntityClassificationTrainConfig
    from papermage_core.training.prepare import Preparation

    def preprocess(data: Path) -> float:
        config = EntityClassificationTrainConfig(
            data_path=data, label_field="Disease", model_name_or_path=str(model), val_split=0.0, cache=False
        )
        preparation = Preparation(config=config, components=config.components())
        start = clock()
        splits = preparation.splits()
        blueprint = preparation.blueprint(splits)
        seconds = clock() - start
        made = blueprint.build_model()  # loads the weights, which is not what is timed
        start = clock()
        limits = BatchLimits.of(blueprint.encoder)
        examples = preparation.examples(splits.train, blueprint, made, Issues(), 4 * limits.cost)
        batches = ExampleBatches(examples, made.encoder.collate)
        units = sum(int(batches[index].mask.sum()) for index in LengthSampler(examples, limits, shuffle=True, seed=1))
        return units / (seconds + clock() - start)

    with tempfile.TemporaryDirectory() as name:  # what is imported late is imported before the clock runs
        few = Path(name) / "few.jsonl"
        few.write_bytes(b"".join(data.read_bytes().splitlines(keepends=True)[:5]))
        preprocess(few)
    return preprocess(data)


def bare_tokenizer(data: Path, model: Path, keep: str) -> float:
    """The fast tokenizer called once with all the words of a file, page by page."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.backend_tokenizer.no_truncation()
    words = [[token.text for token in page.tokens] for doc in DocumentFile(data) for page in doc.pages]
    start = clock()
    tokenizer(words, is_split_into_words=True, truncation=False, padding=False, verbose=False)
    return sum(map(len, words)) / (clock() - start)


def _examples(tokenizer: Any, data: list[tuple[list[str], list[int]]]) -> list[dict[str, Any]]:
    """Wordpieces with the tag of their word at its first, as transformers' own example has them."""
    examples = []
    for words, tags in data:
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=512, padding=False)
        owners = encoded.word_ids()
        first = {i for i in range(len(owners)) if owners[i] is not None and (i == 0 or owners[i - 1] != owners[i])}
        labels = [tags[owners[i]] if i in first else -100 for i in range(len(owners))]
        examples.append({**encoded, "labels": labels})
    return examples


def trainer_f1(corpus: Path, model: Path, keep: str) -> float:
    """Strict F1 on dev, in percent, of the Hugging Face Trainer's standard recipe after 3 epochs."""
    import numpy as np
    from seqeval.metrics import f1_score
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    seed = int(os.environ.get("SEED", "1"))
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model)
    train, dev = (_examples(tokenizer, sentences(documents(corpus, split))) for split in ("train", "dev"))
    with tempfile.TemporaryDirectory() as name:
        made = Trainer(
            model=AutoModelForTokenClassification.from_pretrained(model, num_labels=3),
            args=TrainingArguments(
                output_dir=name, num_train_epochs=3, learning_rate=5e-5, report_to=[], save_strategy="no", seed=seed
            ),
            train_dataset=train,
            data_collator=DataCollatorForTokenClassification(tokenizer),
        )
        made.train()
        found = made.predict(dev)
    names = np.array(TAGS)
    real = found.label_ids != -100
    said = found.predictions.argmax(-1)
    gold = [names[row[m]].tolist() for row, m in zip(found.label_ids, real, strict=True)]
    tags = [names[row[m]].tolist() for row, m in zip(said, real, strict=True)]
    return 100 * float(f1_score(gold, tags))


def ours_f1(corpus: Path, model: Path, keep: str, head: str = "crf") -> float:
    """Strict F1 on dev, in percent, of a run of 3 epochs."""
    from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

    with tempfile.TemporaryDirectory() as name:
        config = EntityClassificationTrainConfig(
            data_path=str(corpus / "train.jsonl"),
            val_data_path=str(corpus / "dev.jsonl"),
            label_field="Disease",
            context_name="sentences",
            model_name_or_path=str(model),
            head=head,
            max_epochs=3,
            seed=int(os.environ.get("SEED", "1")),
            default_root_dir=Path(name) / "run",
        )
        return 100 * EntityClassificationTrainer(config).train().scores.f1


def trainer(corpus: Path, model: Path, keep: str) -> float:
    """The Hugging Face Trainer as it comes, over the words' wordpieces."""
    import torch
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(model)
    data = sentences(documents(corpus, "train", N_TRAIN))
    examples = _examples(tokenizer, data)
    times: list[float] = []

    class Timed(Trainer):
        def training_step(self, *args: Any, **keywords: Any) -> torch.Tensor:
            times.append(clock())
            return super().training_step(*args, **keywords)

    with tempfile.TemporaryDirectory() as name:
        Timed(
            model=AutoModelForTokenClassification.from_pretrained(model, num_labels=3),
            args=TrainingArguments(output_dir=name, num_train_epochs=2, report_to=[], save_strategy="no"),
            train_dataset=examples,
            data_collator=DataCollatorForTokenClassification(tokenizer),
        ).train()
    return _rate(times, sum(len(words) for words, _ in data))


def _rate(times: list[float], n_words: int) -> float:
    """Words per second of the second of two epochs, but for its last step."""
    second = times[len(times) // 2 :]
    return n_words * (len(second) - 1) / len(second) / (second[-1] - second[0])


def _predictor(checkpoint: Path, context_name: str | None = None) -> Any:
    """Return the predictor as papermage-predict has it."""
    from papermage_core.checkpoint import read_blueprint
    from papermage_core.prediction import EntityClassificationPredictor

    read_blueprint(checkpoint).encoder.tune_process()
    return EntityClassificationPredictor.from_pretrained(checkpoint, context_name=context_name)


def ours_predict(corpus: Path, checkpoint: Path, keep: str) -> float:
    """Documents to entities."""
    predictor = _predictor(checkpoint)
    docs = documents(corpus, "dev", N_PREDICT)
    list(predictor.predict_many(docs[:5]))
    start = clock()
    list(predictor.predict_many(docs))
    return sum(len(doc.tokens) for doc in docs) / (clock() - start)


def ours_predict_pages(data: Path, checkpoint: Path, keep: str) -> float:
    """Documents → entities, page by page, the documents read before."""
    predictor = _predictor(checkpoint, context_name="pages")
    docs = list(DocumentFile(data))
    seconds = []
    for _ in range(4):
        start = clock()
        list(predictor.predict_many(docs))
        seconds.append(clock() - start)
    return sum(len(doc.tokens) for doc in docs) / statistics.median(seconds[1:])


def pipeline(corpus: Path, model: Path, keep: str) -> float:
    """The Hugging Face pipeline at its best: sentences sorted by length, in batches."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer
    from transformers import pipeline as make

    labels = {0: "O", 1: "B-Disease", 2: "I-Disease"}
    made = make(
        "token-classification",
        model=AutoModelForTokenClassification.from_pretrained(model, num_labels=3, id2label=labels),
        tokenizer=AutoTokenizer.from_pretrained(model),
        aggregation_strategy="simple",
        batch_size=16,
    )
    made.tokenizer.backend_tokenizer.no_padding()
    data = sorted(sentences(documents(corpus, "dev", N_PREDICT)), key=lambda s: len(s[0]))
    texts = [" ".join(words) for words, _ in data]
    made(texts[:32])
    start = clock()
    made(texts)
    return sum(len(words) for words, _ in data) / (clock() - start)


SIDES: dict[str, Callable[[Path, Path, str], float]] = {
    "ours-train": ours_train,
    "ours-train-pages": ours_train_pages,
    "trainer": trainer,
    "ours-predict": ours_predict,
    "ours-predict-pages": ours_predict_pages,
    "pipeline": pipeline,
    "trainer-f1": trainer_f1,
    "ours-crf-f1": ours_f1,
    "ours-linear-f1": partial(ours_f1, head="linear"),
    "ours-preprocess": ours_preprocess,
    "bare-tokenizer": bare_tokenizer,
}

if __name__ == "__main__":
    side, corpus, model, keep = sys.argv[1:]
    rate = SIDES[side](Path(corpus), Path(model), keep)
    print(f"\n{rate}")
