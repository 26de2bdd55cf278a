"""One side of a comparison, run by the Python of an environment that has the peer: ``PYTHON FILE SIDE DATA MODEL``.

Imports nothing of this project. ``DATA`` is a file of papermage documents, or for Flair a folder with ``train.txt`` and
``dev.txt`` in columns. Prints a number in the last line: tokens a second, or an F1 for ``flair-f1``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LABELS = ["O", "B-Disease", "I-Disease"]


def _papermage() -> Any:
    """Import papermage's tagger alone: its package of predictors asks for vision libraries that it does not use."""
    logging.disable(logging.WARNING)
    spec = find_spec("papermage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0])
    for name in ("predictors", "predictors.base_predictors", "trainers"):
        module = types.ModuleType(f"papermage.{name}")
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[f"papermage.{name}"] = module
    from papermage.predictors.base_predictors.hf_predictors import HFBIOTaggerPredictor

    sys.modules["papermage.predictors"].HFBIOTaggerPredictor = HFBIOTaggerPredictor
    return HFBIOTaggerPredictor


def _tagger(model: str) -> Any:
    return _papermage().from_pretrained(
        model_name_or_path=model,
        entity_name="tokens",
        context_name="pages",
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )


def _papermage_trainer(model: str, folder: str) -> Any:
    os.environ["PAPERMAGE_CACHE_DIR"] = folder
    tagger = _tagger(model)
    from omegaconf import OmegaConf
    from papermage.trainers.bio_tagger_predictor_trainer import (
        HFBIOTaggerPredictorTrainConfig,
        HFBIOTaggerPredictorTrainer,
    )

    config = HFBIOTaggerPredictorTrainConfig(
        data_path=Path("unused"), label_field="Disease", model_name_or_path=model, max_epochs=2
    )
    return HFBIOTaggerPredictorTrainer(tagger, OmegaConf.create(dataclasses.asdict(config)))


def papermage_train(data: str, model: str) -> float:
    """Training as it comes: batches of 2 pages, the second of two epochs, from its first step to its last."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _papermage_trainer(model, folder)
        times: list[float] = []
        original = trainer.predictor.training_step

        def timed(*args: Any) -> Any:
            times.append(time.perf_counter())
            return original(*args)

        trainer.predictor.training_step = timed
        trainer.train(docs_path=Path(data), val_docs_path=None, annotations_entity_names=["Disease"])
    second = times[len(times) // 2 :]
    return _tokens(data) * (len(second) - 1) / len(second) / (second[-1] - second[0])


def papermage_preprocess(data: str, model: str) -> float:
    """File → tensors with labels."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _papermage_trainer(model, folder)
        start = time.perf_counter()
        trainer.preprocess(docs_path=Path(data), labels_fields=["Disease"])
        return _tokens(data) / (time.perf_counter() - start)


def papermage_predict(data: str, model: str) -> float:
    """Documents → entities, the documents read before."""
    tagger = _tagger(model)
    from papermage.magelib import Document

    docs = [Document.from_json(json.loads(line)) for line in Path(data).read_text(encoding="utf-8").splitlines()]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for doc in docs:
            tagger.predict(doc=doc)
        times.append(time.perf_counter() - start)
    return _tokens(data) / statistics.median(times)


def _tokens(data: str) -> int:
    lines = Path(data).read_text(encoding="utf-8").splitlines()
    return sum(len(json.loads(line)["entities"]["tokens"]) for line in lines)


def _flair(data: str, model: str) -> Any:
    import flair
    from flair.datasets import ColumnCorpus
    from flair.embeddings import TransformerWordEmbeddings
    from flair.models import SequenceTagger
    from flair.trainers import ModelTrainer

    flair.set_seed(int(os.environ.get("SEED", "1")))
    corpus = ColumnCorpus(
        data,
        {0: "text", 1: "ner"},
        train_file="train.txt",
        dev_file="dev.txt",
        test_file="dev.txt",
        column_delimiter=" ",
    )
    tagger = SequenceTagger(
        hidden_size=256,
        embeddings=TransformerWordEmbeddings(model, layers="-1", subtoken_pooling="first", fine_tune=True),
        tag_dictionary=corpus.make_label_dictionary(label_type="ner", add_unk=False),
        tag_type="ner",
        use_crf=False,
        use_rnn=False,
        reproject_embeddings=False,
    )
    return corpus, tagger, ModelTrainer(tagger, corpus)


def flair_train(data: str, model: str) -> float:
    """Fine-tuning as it comes, the second of two epochs, from its first step to its last."""
    corpus, tagger, trainer = _flair(data, model)
    times: list[float] = []
    original = tagger.forward_loss

    def timed(*args: Any) -> Any:
        times.append(time.perf_counter())
        return original(*args)

    tagger.forward_loss = timed
    with tempfile.TemporaryDirectory() as folder:
        trainer.fine_tune(folder, learning_rate=5e-5, max_epochs=2, train_with_dev=True, monitor_test=False)
    steps = len(times) // 2
    second = times[-steps:]
    tokens = sum(len(sentence) for sentence in [*corpus.train, *corpus.dev])
    return tokens * (steps - 1) / steps / (second[-1] - second[0])


def flair_f1(data: str, model: str) -> float:
    """Strict F1 on dev, in percent, after three epochs of its fine-tuning at 5e-5."""
    corpus, tagger, trainer = _flair(data, model)
    with tempfile.TemporaryDirectory() as folder:
        trainer.fine_tune(folder, learning_rate=5e-5, max_epochs=3)
    found = tagger.evaluate(corpus.dev, gold_label_type="ner", mini_batch_size=32)
    return 100 * float(found.main_score)


SIDES: dict[str, Callable[[str, str], float]] = {
    "papermage-train": papermage_train,
    "papermage-preprocess": papermage_preprocess,
    "papermage-predict": papermage_predict,
    "flair-train": flair_train,
    "flair-f1": flair_f1,
}

if __name__ == "__main__":
    print(f"\n{SIDES[sys.argv[1]](*sys.argv[2:])}")
