"""What the quickstart prints of the references that it reads."""

from __future__ import annotations

import runpy
from pathlib import Path

from papermage_core import Document, Entity, Metadata, Span

QUICKSTART = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "quickstart.py"))


def test_what_was_found_stands_below_its_own_reference() -> None:
    doc: Document = QUICKSTART["as_document"](QUICKSTART["UNSEEN"])
    references = QUICKSTART["UNSEEN"].split("\n")
    assert [reference.text for reference in doc.bib_entries] == references
    assert "".join(token.text for token in doc.tokens) == "".join(QUICKSTART["UNSEEN"].split())
    starts = [reference.spans[0].start for reference in doc.bib_entries]
    fields = [
        Entity(spans=[Span(at, at + 2)], metadata=Metadata(label=f"in_{i}", score=0.5)) for i, at in enumerate(starts)
    ]
    doc.annotate_layer("fields", fields)
    lines = QUICKSTART["listing"](doc).split("\n")
    assert [lines.index(reference) for reference in references] == [0, 4, 8]
    assert [line.split() for line in lines[2::4]] == [["0.50", f"in_{i}", r[:2]] for i, r in enumerate(references)]
