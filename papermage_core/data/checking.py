"""Every error of documents, and everything odd in their labels, each with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.structure import structure
from papermage_core.data.gold import encode_gold, label_document
from papermage_core.data.issues import KINDS, Issues
from papermage_core.data.labelling import Labelling, Task
from papermage_core.data.processors import processed
from papermage_core.data.readers import AnyReader, iter_documents
from papermage_core.data.units import Parser, text_digest
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextNeeds, DocumentProcessorConfig, LabelScheme, LocatedDocument

__all__ = ["Findings", "check"]

_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[-+]?\d[\d.e]*")


@attrs.define
class Findings:
    """What is wrong with documents, what reading them let pass, and what is odd in their labels.

    ``print`` shows the counts first, then the places that were kept.
    """

    keep: int | None = None
    """How many places of each kind are kept; None: all."""
    documents: int = 0
    """Those that could be read."""
    errors: list[DataError] = attrs.field(factory=list)
    """Each names its place; such a document cannot be used."""
    repairs: list[tuple[str, str]] = attrs.field(factory=list)
    """The document's place, and what was let pass."""
    issues: Issues = attrs.field(factory=Issues)
    """What training and scoring handle by a policy."""
    error_count: int = 0
    repair_count: int = 0
    _kinds: Counter[str] = attrs.field(factory=Counter)

    @property
    def issue_count(self) -> int:
        """How often something was odd."""
        return sum(self.issues.counts.values())

    def add_error(self, error: DataError) -> None:
        """Count an error, and keep it if not enough of its kind are kept."""
        self.error_count += 1
        if self._is_kept(" ".join(["error:", *_VALUES.sub("", error.message).split()[:6]])):
            error.__traceback__ = error.__cause__ = error.__context__ = None  # they hold on to the document
            self.errors.append(error)

    def add_repair(self, kind: str, place: str, text: str) -> None:
        """Count what was let pass, and keep its place if not enough of its kind are kept."""
        self.repair_count += 1
        if self._is_kept(f"repair: {kind}"):
            self.repairs.append((place, text))

    @property
    def is_shortened(self) -> bool:
        """Whether there may be places that are not kept."""
        return (
            self.error_count > len(self.errors)
            or self.repair_count > len(self.repairs)
            or any(map(self._may_have_more, self.issues.counts))
        )

    def _may_have_more(self, kind: str) -> bool:
        kept = len(self.issues.examples[kind])
        return kept == self.keep and self.issues.counts[kind] > kept

    def _is_kept(self, kind: str) -> bool:
        self._kinds[kind] += 1
        return self.keep is None or self._kinds[kind] <= self.keep

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the places kept, as plain dicts, lists and numbers."""
        return {
            "documents": self.documents,
            "counts": {"errors": self.error_count, "repairs": self.repair_count, "issues": self.issue_count},
            "errors": [_error_to_json(error) for error in self.errors],
            "repairs": [{"document": document, "repair": repair} for document, repair in self.repairs],
            "issues": {
                kind: {
                    "count": count,
                    "policy": KINDS[kind],
                    "places": [{"document": at.document, "detail": at.detail} for at in self.issues.examples[kind]],
                }
                for kind, count in self.issues.counts.items()
            },
        }

    def __str__(self) -> str:
        return "\n".join([self.summary(), *self._lines()])

    def summary(self) -> str:
        """Return the counts in a line."""
        return (
            f"{self.documents} documents read, {self.error_count} errors, {self.repair_count} repairs, "
            f"{self.issue_count} issues"
        )

    def _lines(self) -> Iterator[str]:
        if self.error_count:
            yield f"\n{self.error_count} × documents, or files, that cannot be used:"
            yield from _places(map(str, self.errors), self.error_count > len(self.errors))
        if self.repair_count:
            yield f"\n{self.repair_count} × repairs, with which documents are read all the same:"
            yield from _places((": ".join(each) for each in self.repairs), self.repair_count > len(self.repairs))
        for kind, count in self.issues.counts.items():
            yield f"\n{count} × {KINDS[kind]}:"
            kept = self.issues.examples[kind]
            yield from _places((f"{at.document}: {at.detail}" for at in kept), self._may_have_more(kind))


def _places(places: Iterator[str], more: bool) -> Iterator[str]:
    yield from (f"  {place}" for place in places)
    if more:
        yield "  … and more"


def check(
    data_path: str | Path | Sequence[str | Path],
    label_field: str | Sequence[str] = (),
    *,
    entity_name: str = "tokens",
    context_name: str = "pages",
    label_attribute: str | None = None,
    label_scheme: str = "bio",
    reader: AnyReader = None,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
    plugins: Plugins | None = None,
    keep: int | None = None,
) -> Findings:
    """Return all that is wrong or odd in documents, reading on after each error.

    Labels are looked at where ``label_field`` names their layers; what the ``label_scheme`` cannot hold counts as odd.
    ``processors`` add layers before labels are looked at. ``keep`` bounds the places that are kept of each kind. Raises
    DataError for a path that is not there.

    >>> from papermage_core.testing import make_documents, write_jsonl
    >>> print(check(write_jsonl(make_documents(2), getfixture("tmp_path") / "a.jsonl"), "Disease"))
    2 documents read, 0 errors, 0 repairs, 0 issues
    """
    labelling = Labelling(
        label_field=label_fields(label_field),
        entity_name=entity_name,
        context_name=context_name,
        label_attribute=label_attribute,
    )
    scheme = _scheme(labelling, label_scheme, plugins or Plugins())
    found = Findings(keep, issues=Issues(keep))
    parser = Parser(labelling, ContextNeeds(), found.issues)
    seen: dict[bytes, str] = {}
    documents = iter_documents(data_path, reader=reader, on_error=found.add_error)
    for located in processed(documents, processors, plugins):
        found.documents += 1
        place = place_of(located)
        for repair in located.document.repairs:
            where = "" if repair.layer is None else f"{repair.layer}[{repair.entity}]: "
            found.add_repair(repair.kind, place, f"{where}{repair.kind}, {repair.value!r:.80}: {repair.done}")
        digest = text_digest(located.document)
        if digest in seen:
            found.issues.add("same_document", place, f"the same text as {seen[digest]}")
        seen.setdefault(digest, place)
        try:
            _check_labels(located, place, parser, scheme)
        except DataError as error:
            found.add_error(located.error(error))
    found.errors.sort(key=lambda error: (str(error.path), error.line or 0))
    return found


def label_fields(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of layers, which a string may hold with commas between."""
    return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else tuple(given)


def place_of(located: LocatedDocument) -> str:
    """Return where a document stands: ``a.jsonl, line 3, document 'W05-13'``."""
    return str(located.error("")).removesuffix(": ")


def _scheme(labelling: Labelling, name: str, plugins: Plugins) -> LabelScheme | None:
    """Return the scheme for the label fields; None where labels come from an attribute, or none are asked for."""
    config_class = plugins.config_class("label_scheme", name)
    if not labelling.label_field or labelling.label_attribute is not None:
        return None
    scheme: LabelScheme = structure(config_class, {}, key="label_scheme", name=name).build(labelling.label_field)
    return scheme


def _check_labels(located: LocatedDocument, place: str, parser: Parser, scheme: LabelScheme | None) -> None:
    labelling, issues = parser.labelling, parser.issues
    if not labelling.label_field:
        return
    parsed = label_document(parser.parse(located.document, place), located.document, labelling, issues)
    if parsed is not None and scheme is not None:
        encode_gold(parsed, [Task(labelling.label_field, scheme)], issues, labelling.overlap_policy)


def _error_to_json(error: DataError) -> dict[str, Any]:
    return {
        "message": error.message,
        "path": None if error.path is None else str(error.path),
        "line": error.line,
        "document": error.document,
        "layer": error.layer,
        "entity": error.entity,
        "expected": error.expected,
    }
