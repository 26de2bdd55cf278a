"""Train on the sample references, score on ones it has not seen, and read three others: a minute, no network.

``python examples/quickstart.py [FOLDER]`` keeps the run in FOLDER, else where runs are kept (it prints where).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as commands do: waiting threads leave a busy machine to others

from papermage_core import Document, Entity, Span
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

SAMPLES = Path(__file__).parent / "data" / "references"
FIELDS = (
    "author", "title", "journal", "booktitle", "editor", "edition", "volume", "issue", "page_range", "publisher",
    "location", "date", "doi", "url", "note", "citation_number",
)  # fmt: skip
UNSEEN = """\
Heidegger, M. (1962). Being and time (J. Macquarrie & E. Robinson, Trans.). New York: Harper & Row.
[7] K. Lo and Z. Shen, “PaperMage: a toolkit for visually-rich documents,” in Proc. EMNLP, 2023, pp. 495–507.
12. Pérez-Higueras JJ, Arias A. Cyclic fatigue resistance of instruments. J Endod. 2014;40(9):1477-81."""


def main(folder: Path | None = None) -> None:
    """Train, score, predict."""
    config = EntityClassificationTrainConfig(
        data_path=SAMPLES / "train.jsonl",
        val_data_path=SAMPLES / "dev.jsonl",
        label_field=FIELDS,
        context_name="bib_entries",
        head="crf",
        max_epochs=15,
        default_root_dir=folder,
        overwrite=True,  # typed a second time, it trains again
    )
    trainer = EntityClassificationTrainer(config)
    result = trainer.train()
    print(f"\nScores on {SAMPLES.name}/dev.jsonl, references it was not trained on:\n")
    print(result.scores.table(whole=False), end="\n\n")

    predictor = EntityClassificationPredictor.from_pretrained(result.checkpoint)
    doc = as_document(UNSEEN)
    doc.annotate_layer(name="fields", entities=predictor.predict(doc=doc))
    print(f"Three references from elsewhere, and how sure the model is of what it finds in them:\n\n{listing(doc)}")
    print(f"\nThe run is in {result.folder}: open report.html there to see where the model fails.")


def listing(doc: Document) -> str:
    """Return each reference, and below it what was found in it."""
    lines = []
    for reference in doc.bib_entries:
        lines += [reference.text, ""]
        fields = reference.intersect_by_span("fields")
        lines += [f"  {field.score:5.2f}  {field.label:<16} {field.text}" for field in fields]
        lines.append("")
    return "\n".join(lines[:-1])


def as_document(text: str) -> Document:
    """Return a document of one reference a line, with the layers that the model reads."""
    doc = Document(symbols=text)
    doc.annotate_layer(name="tokens", entities=found(r"\w+|[^\w\s]", text))
    doc.annotate_layer(name="bib_entries", entities=found(r"[^\n]+", text))
    return doc


def found(pattern: str, text: str) -> list[Entity]:
    """Return an entity for each match."""
    return [Entity(spans=[Span(*match.span())]) for match in re.finditer(pattern, text)]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
