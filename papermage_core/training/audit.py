"""Gold that may be wrong, found by models of folds in the documents that they did not see."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import Corpus
from papermage_core.data.entities import merged_entities
from papermage_core.data.units import ParsedDocument
from papermage_core.data.writers import Written, write_documents
from papermage_core.document import Document
from papermage_core.errors import ConfigError, counted
from papermage_core.evaluation.audit import LEAST, Auditor, Suspect
from papermage_core.evaluation.evaluator import unit_text
from papermage_core.evaluation.mistakes import ErrorRecord
from papermage_core.evaluation.report import write_error_page
from papermage_core.files import whole_text_file
from papermage_core.files.whole import made_folder
from papermage_core.model.inference import decode_documents, document_spans, pick_device
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentWriterConfig, HeadOutput
from papermage_core.training.folds import folds_of
from papermage_core.training.prepare import Preparation
from papermage_core.training.several import train_several
from papermage_core.training.stopping import Stopping

__all__ = ["LAYER", "Audit", "audit"]

LAYER = "audit"
"""The layer that suspects are put in for an annotation tool."""
_MOST = 20_000
_log = logging.getLogger(__name__)


@attrs.frozen(eq=False, kw_only=True)
class Audit:
    """The gold that a model disagrees with, the most suspect first."""

    corpus: Corpus
    suspects: Sequence[Suspect]
    gold: int
    """How many gold entities there are."""

    def records(self, most: int | None = None) -> Iterator[ErrorRecord]:
        """Yield the suspects as mistakes, in order."""
        texts: dict[int, Any] = {}
        for suspect in self.suspects[:most]:
            if suspect.document not in texts:
                if len(texts) > 1000:
                    texts.clear()
                texts[suspect.document] = unit_text(self.corpus[suspect.document])
            yield suspect.record(texts[suspect.document])

    def write(self, folder: Path, title: str) -> None:
        """Write ``audit.jsonl``, a suspect a line as in ``errors.jsonl``, and ``audit.html``, to browse them."""
        with made_folder(folder), whole_text_file(folder / "audit.jsonl") as file:
            for rank, (suspect, record) in enumerate(zip(self.suspects, self.records(), strict=True), start=1):
                value = {"rank": rank, "suspicion": suspect.kind, **record.to_json()}
                file.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n")
        readable = self.corpus.source.is_readable_twice
        write_error_page(
            folder / "audit.html",
            list(self.records(_MOST)),
            title=title,
            about="What a model that did not see a document disagrees with, most likely wrong gold first. "
            "The gold is that of the documents; what is predicted is the suggestion.",
            documents=(lambda: self.corpus.parsed(keep=True)) if readable else None,
            order_name="how likely the gold is wrong",
            entity_name=self.corpus.labelling.entity_name,
            total=len(self.suspects),
        )

    def write_documents(
        self,
        path: str,
        most: int,
        *,
        writer: DocumentWriterConfig | None = None,
        overwrite: bool = False,
        inputs: Sequence[str | Path] = (),
    ) -> Written:
        """Write the documents of the first suspects, these as the layer ``audit``, as a writer of any format does.

        A suspect's label says what may be wrong: ``audit_missing_Disease``.
        """
        chosen: dict[int, list[Suspect]] = defaultdict(list)
        for suspect in self.suspects[:most]:
            chosen[suspect.document].append(suspect)
        documents = (
            _marked(parsed, chosen[number], self.corpus.labelling.entity_name)
            for number, parsed in enumerate(self.corpus.parsed(keep=True))
            if number in chosen
        )
        return write_documents(documents, path, writer, overwrite=overwrite, inputs=inputs)

    def summary(self, most: int) -> str:
        """Return what was found in short, with the first few."""
        counts: dict[str, int] = defaultdict(int)
        for suspect in self.suspects[:most]:
            counts[suspect.kind] += 1
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        lines = [
            f"{len(self.suspects)} of what may be wrong in {counted(self.gold, 'gold entities')} of "
            f"{counted(len(self.corpus), 'documents')}; "
            f"look at the first {min(most, len(self.suspects))} ({told})"
        ]
        lines += [
            f"  {record.score:4.2f}  {_told(suspect)}  …{record.before[-30:]}[{record.text}]{record.after[:30]}…  "
            f"{record.document}".replace("\n", " ")
            for suspect, record in zip(self.suspects, self.records(10), strict=False)
        ]
        return "\n".join(lines)


def _told(suspect: Suspect) -> str:
    """Return what may be wrong, in words that are a label in an annotation tool, too."""
    gold, suggestion = suspect.gold, suspect.suggestion
    if suspect.kind == "label" and gold is not None and suggestion is not None:
        return f"{gold.label} → {suggestion.label}"
    side = suggestion if suggestion is not None else gold
    assert side is not None
    return f"{suspect.kind} {side.label}"


def _marked(parsed: ParsedDocument, suspects: Sequence[Suspect], entity_name: str) -> Document:
    document = parsed.document
    assert document is not None
    sides = [(suspect, suspect.suggestion or suspect.gold) for suspect in suspects]
    sides.sort(key=lambda side: side[1].place if side[1] is not None else (0,))
    spans = [
        attrs.evolve(side, label=f"{LAYER}_{suspect.kind}_{side.label}") for suspect, side in sides if side is not None
    ]
    scores = [suspect.probability for suspect, _ in sides]
    if LAYER in document.layers:
        document.remove_layer(LAYER)
    document.annotate_layer(LAYER, merged_entities(spans, document.get_layer(entity_name), scores, parsed.order))
    return document


def audit(
    config: EntityClassificationTrainConfig, components: ComponentConfigs, stopping: Stopping | None = None
) -> Audit:
    """Train the folds of a config that are not trained yet; return what their models doubt in the gold.

    Raises ConfigError where the config has no folds.
    """
    if config.folds is None or config.several != "folds":
        raise ConfigError("audit needs folds=N and one seed: documents are judged by models that did not see them")
    result = train_several(config, components, stopping)
    corpus = Preparation.of(config, components).documents()
    names, part = folds_of(corpus, config.folds, config.seed)
    auditor, order = Auditor(config.seed), []
    for place, name in enumerate(names):
        _log.info("fold %s (%d of %d): looking at the documents that it did not see", name, place + 1, len(names))
        held_out = np.flatnonzero(part == place)
        order += held_out.tolist()
        _add(auditor, result.runs[name].checkpoint, corpus.choose(held_out), config)
    suspects = [attrs.evolve(each, document=order[each.document]) for each in auditor.suspects()]
    return Audit(corpus=corpus, suspects=suspects, gold=auditor.gold_count)


def _add(auditor: Auditor, model: Path, held_out: Corpus, config: EntityClassificationTrainConfig) -> None:
    plugins = Plugins(config.plugins_path)
    loaded = checkpoint.load(model, pick_device(str(config.lightning.get("accelerator", "auto"))), plugins)
    device = loaded.model.device
    limits = BatchLimits.without_gradient(loaded.blueprint.encoder, config.batch_size, device)
    found = decode_documents(loaded.model, held_out, loaded.blueprint.stride, limits, device, least=LEAST)
    for parsed, outputs in found:
        likely = [
            span
            for of_tasks, units in zip(outputs, parsed.units, strict=True)
            for span in document_spans(of_tasks, units)
        ]
        auditor.add(parsed, likely, _outside(parsed, outputs))


def _outside(parsed: ParsedDocument, outputs: Sequence[Sequence[HeadOutput]]) -> NDArray[np.float64]:
    """Return how likely each unit is in no entity, by what all heads say. Shape (units,)."""
    found = np.ones(parsed.n_units)
    for of_tasks, units in zip(outputs, parsed.units, strict=True):
        for said in of_tasks:
            is_outside = said.tags == said.tag_names.index("O")
            found[units] *= np.where(is_outside, said.scores, 1 - said.scores)
    return found
