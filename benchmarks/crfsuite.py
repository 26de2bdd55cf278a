"""``encoder=compact head=crf`` against python-crfsuite with hand features, on the parts of papers that GROBID cuts.

Needs ``PAPERMAGE_CORPORA``. Both are trained on the same units and contexts of a set, and predict its dev file on one
thread, in turn, in this process: contexts → labels, crfsuite's hand features computed each time, ours too. The hand
features are those of the tutorials: word, affixes, shape and kind of the word and of two on either side, place in the
context, and the units' metadata. F1 is strict, on dev. ``PAPERMAGE_BENCH_SETS=grobid_citation,grobid_header`` chooses
sets, ``PAPERMAGE_BENCH_EPOCHS`` how long ours is trained.

Where ``libwapiti`` is installed, the speed of Wapiti, which GROBID's models are of, stands beside it: the same features
as columns and patterns, trained on a fifth of the documents with 30 iterations, as its F1 is not asked for.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from benchmarks import Record, Rows, corpora, interleaved, record
from papermage_core import checkpoint
from papermage_core.config.readers import ReaderChoice
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import parse_documents
from papermage_core.data.gold import encode_gold, to_document
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling, Task
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import ParsedDocument
from papermage_core.evaluation import Scorer
from papermage_core.model.inference import decode_documents
from papermage_core.plugin import Context, ContextNeeds, UnitSpan
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_schemes.bio import BioSchemeConfig


@attrs.frozen(kw_only=True)
class _Set:
    context: str
    labels: str
    unit: str = "tokens"
    ending: str = ".gz"
    ending_of_dev: str | None = None


_SETS = {
    "grobid_date": _Set(context="strings", labels="day,month,year", ending=""),
    "grobid_affiliation": _Set(
        context="strings",
        labels="addrLine,country,department,institution,laboratory,marker,postBox,postCode,region,settlement",
        ending="",
    ),
    "grobid_name_header": _Set(context="strings", labels="forename,marker,middlename,suffix,surname,title", ending=""),
    "grobid_name_citation": _Set(context="strings", labels="forename,middlename,suffix,surname", ending=""),
    "grobid_citation": _Set(
        context="bib_entries",
        labels="author,booktitle,collaboration,date,editor,institution,issue,journal,location,note,page_range,"
        "publisher,pubnum,series,tech,title,volume,web",
        ending_of_dev="",
    ),
    "grobid_header": _Set(
        context="pages",
        labels="abstract,address,affiliation,author,availability,copyright,date,doctype,editor,email,funding,group,"
        "keyword,meeting,pubnum,reference,submission,title,web",
    ),
    "grobid_references": _Set(context="pages", labels="label,reference"),
    "grobid_segmentation": _Set(
        context="whole",
        labels="acknowledgement,annex,availability,body,cover,footnote,funding,header,headnote,page,references,toc",
        unit="rows",
    ),
}


_WAPITI = {"wapiti": "Wapiti, its columns computed", "wapiti, columns ready": "Wapiti, its columns ready"}


def run() -> Rows:
    """Yield the records: F1 and speed of prediction of each set, and the time of training."""
    import pycrfsuite  # noqa: F401

    chosen = os.environ.get("PAPERMAGE_BENCH_SETS", ",".join(_SETS)).split(",")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in chosen:
            yield from _compared(name, _SETS[name])
    finally:
        torch.set_num_threads(threads)


def _compared(name: str, chosen: _Set) -> Iterator[Record]:
    folder = corpora() / name
    train_path = folder / f"train.jsonl{chosen.ending}"
    dev_path = folder / f"dev.jsonl{chosen.ending if chosen.ending_of_dev is None else chosen.ending_of_dev}"
    labels = tuple(chosen.labels.split(","))
    task = Task(labels, BioSchemeConfig().build(labels))
    train, dev = (_parsed(path, chosen, labels) for path in (train_path, dev_path))
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        tagger = _crfsuite(train, task, Path(scratch) / "crf")
        crf_seconds = time.perf_counter() - start

        def crf() -> list[list[UnitSpan]]:
            return [[span for spans in _tagged(tagger, parsed, task) for span in spans] for parsed in dev]

        config = EntityClassificationTrainConfig(
            data_path=str(train_path),
            val_data_path=str(dev_path),
            label_field=chosen.labels,
            entity_name=chosen.unit,
            context_name=chosen.context,
            head="crf",
            max_epochs=int(os.environ.get("PAPERMAGE_BENCH_EPOCHS", "20")),
            num_threads=1,
            num_workers=0,
            default_root_dir=f"{scratch}/run",
        )
        trained = EntityClassificationTrainer(config).train()
        with (trained.folder / "metrics.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        loaded = checkpoint.load(trained.checkpoint)
        own = _parsed(dev_path, chosen, labels, loaded.blueprint.encoder.needs)
        limits = BatchLimits.without_gradient(loaded.blueprint.encoder, None, "cpu")

        def compact() -> None:
            for _ in decode_documents(loaded.model, own, loaded.blueprint.stride, limits):
                pass

        scorer = Scorer(labels)
        for parsed, found in zip(dev, crf(), strict=True):
            scorer.add([span for gold in parsed.gold for span in _spans(gold)], found)
        crf_f1 = scorer.scores().f1
        units = sum(parsed.n_units for parsed in dev)
        peers: dict[str, Callable[[], object]] = {"crf": crf, "compact": compact}
        if importlib.util.find_spec("wapiti") is not None:
            wapiti = _wapiti(train[::5], task)
            contexts = [context for parsed in dev for context in parsed.contexts if len(context)]
            columns = list(map(_columns, contexts))
            peers |= {
                "wapiti": lambda: [wapiti.label_sequence(_columns(context)) for context in contexts],
                "wapiti, columns ready": lambda: [wapiti.label_sequence(each) for each in columns],
            }
        seconds = interleaved(peers, repeats=5)
    note = f"{units} units, one thread"
    packages = ("torch", "python-crfsuite")
    yield record(
        f"{name}: compact + crf, dev F1",
        100 * trained.scores.f1,
        "% strict entity F1",
        reference="crfsuite",
        reference_value=100 * crf_f1,
        target=">= 1.03",
        note=f"{config.max_epochs} epochs, seed {config.seed}",
        peers=packages,
    )
    yield record(
        f"{name}: prediction",
        units / seconds["compact"],
        "units/s",
        reference="crfsuite, its features computed",
        reference_value=units / seconds["crf"],
        target=">= 1.0",
        note=note,
        peers=packages,
    )
    for peer, reference in _WAPITI.items():
        if peer in seconds:
            yield record(
                f"{name}: prediction",
                units / seconds["compact"],
                "units/s",
                reference=reference,
                reference_value=units / seconds[peer],
                target=">= 1.0" if peer == "wapiti" else "",
                note=note,
                peers=("torch", "libwapiti"),
            )
    reached = next((float(row["seconds"]) for row in rows if float(row["val_f1"]) >= crf_f1), math.inf)
    yield record(
        f"{name}: training to the F1 of crfsuite",
        reached,
        "s",
        reference="crfsuite's whole training",
        reference_value=crf_seconds,
        target="<= 1.0",
        note=note,
        peers=packages,
    )


def _parsed(path: Path, chosen: _Set, labels: Sequence[str], needs: ContextNeeds | None = None) -> list[ParsedDocument]:
    labelling = Labelling(label_field=tuple(labels), entity_name=chosen.unit, context_name=chosen.context)
    source = DocumentSource((path,), ReaderChoice())
    return list(parse_documents(source, labelling, needs or ContextNeeds(all_metadata=True), Issues()))


def _spans(gold: Sequence[Any] | None) -> list[UnitSpan]:
    """Return gold as spans of the document."""
    return [UnitSpan(each.label, each.segments) for each in gold or ()]


def _crfsuite(train: Sequence[ParsedDocument], task: Task, path: Path) -> Any:
    import pycrfsuite

    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params({"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True})
    for parsed in train:
        for context, (target,) in zip(parsed.contexts, encode_gold(parsed, [task], Issues(), "longest"), strict=True):
            if len(context):
                trainer.append(_features(context), [task.scheme.tags[tag] for tag in target])
    trainer.train(str(path))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(path))
    return tagger


def _tagged(tagger: Any, parsed: ParsedDocument, task: Task) -> Iterator[list[UnitSpan]]:
    number = {tag: i for i, tag in enumerate(task.scheme.tags)}
    for context, units in zip(parsed.contexts, parsed.units, strict=True):
        tags = tagger.tag(_features(context)) if len(context) else []
        yield [to_document(span, units) for span in task.scheme.decode(np.array([number[tag] for tag in tags]))]


def _wapiti(train: Sequence[ParsedDocument], task: Task) -> Any:
    import wapiti

    n_columns = len(_of_word("", False))
    patterns = [f"u:0.{column}=%x[0,{column}]" for column in range(n_columns)]
    patterns += [f"u:{away}.{column}=%x[{away},{column}]" for away in (-2, -1, 1, 2) for column in range(6)]
    model = wapiti.Model(patterns="\n".join([*patterns, "b"]), nthread=1, maxiter=30)
    for parsed in train:
        for context, (target,) in zip(parsed.contexts, encode_gold(parsed, [task], Issues(), "longest"), strict=True):
            if len(context):
                rows = zip(_columns(context).split("\n"), target, strict=True)
                model.add_training_sequence("\n".join(f"{row} {task.scheme.tags[tag]}" for row, tag in rows))
    model.train()
    return model


def _columns(context: Context) -> str:
    """Return the features of each unit's own word, a unit a line."""
    return "\n".join(
        " ".join(_of_word("_".join(word.split()), space))
        for word, space in zip(context.words, context.space_before.tolist(), strict=True)
    )


def _features(context: Context) -> list[list[str]]:
    """Return the features of each unit: its own, those of two units on either side, its place, and its metadata."""
    n = len(context)
    own = [_of_word(word, space) for word, space in zip(context.words, context.space_before.tolist(), strict=True)]
    found = []
    for i in range(n):
        features = [f"0{each}" for each in own[i]]
        for away in (-2, -1, 1, 2):
            if 0 <= i + away < n:
                features += [f"{away}{each}" for each in own[i + away][:6]]
            else:
                features.append(f"{away}none")
        features += [f"tenth={10 * i // n}", f"start={min(i, 5)}", f"end={min(n - 1 - i, 5)}"]
        features += [f"{key}={values[i]}" for key, values in context.metadata.items()]
        found.append(features)
    return found


def _of_word(word: str, space: bool) -> list[str]:
    lower = word.lower()
    shape = re.sub(r"[A-Z]", "X", re.sub(r"[a-z]", "x", re.sub(r"[0-9]", "d", word)))
    short = re.sub(r"(.)\1+", r"\1", shape)
    kind = "X" if word.isupper() else "Xx" if word.istitle() else "x" if word.islower() else "other"
    return [
        f"w={lower}",
        f"s={short}",
        f"k={kind}",
        f"d={word.isdigit()}{len(word) if word.isdigit() else ''}",
        f"g={space}",
        f"p={word if not word[:1].isalnum() else ''}",
        f"1={lower[:1]}",
        f"2={lower[:2]}",
        f"3={lower[:3]}",
        f"4={lower[:4]}",
        f"-1={lower[-1:]}",
        f"-2={lower[-2:]}",
        f"-3={lower[-3:]}",
        f"-4={lower[-4:]}",
        f"l={shape}",
        f"n={min(len(word), 12)}",
    ]
