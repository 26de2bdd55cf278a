"""The reader and the writer ``label_studio``: exports of text tasks, as JSON and as JSON-MIN."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypedDict

import attrs

from papermage_core.document import Document, Metadata
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.counting import Said, Unlike, counting_of
from papermage_formats.json_items import decode_item, json_bytes, named_items
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    TEXT_LAYERS,
    Labelled,
    add_labelled,
    check_place,
    integer_id,
    labelled_entities,
    losses,
    make_document,
    reason_of,
    text_of,
)
from papermage_formats.noted import noted, relations_of
from papermage_formats.records import RecordReader, read_records

__all__ = ["LabelStudioReader", "LabelStudioReaderConfig", "LabelStudioWriter", "LabelStudioWriterConfig"]

_log = logging.getLogger(__name__)
_PLAIN, _OF_HTML = "labels", "hypertextlabels"
"""Types of results that are regions: of texts, and of HTML."""
_ADDRESS = re.compile(
    r"([a-z][a-z\d+.-]*://|/data/)\S*|\S+\.(png|jpe?g|gif|tiff?|bmp|webp|svg|pdf|mp3|wav|ogg|flac|m4a|mp4|webm)",
    re.IGNORECASE,
)
"""What stands in a task for what is no text: where a picture, a sound or a file is."""
_TASK = re.compile(rb'"data"\s*:\s*\{')
_TO_IMPORT = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*\{\s*(?:"id"\s*:\s*\d+\s*,\s*)?"data"\s*:\s*\{')
"""How a file begins whose first task has nothing but data, as those to import."""
_OF_MIN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""What JSON-MIN says of who labelled a task, and when: other exports say it outside of the data."""


@attrs.frozen(kw_only=True)
class LabelStudioReaderConfig(DocumentReaderConfig):
    """Options of the reader ``label_studio``."""

    suffixes: ClassVar[tuple[str, ...]] = (".label_studio",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    compressed: ClassVar[bool] = True

    text_key: str = option(
        "", help="the key of the text in the data of a task; default: that of the only text, or text"
    )
    take: Literal["annotations", "predictions"] = option(
        "annotations", help="whether to read what people labelled, or what a model proposed"
    )
    annotator: int = option(0, help="which annotation of a task to read, from 0; cancelled ones do not count")
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the first task has data and a place for annotations, data alone, or is one of JSON-MIN."""
        made = any(key in head for key in (b'"annotations"', b'"predictions"', b'"completions"'))
        task = b'"result"' in head or _TASK.search(head) is not None
        return (
            (made and task) or bool(_TO_IMPORT.match(head)) or (b'"annotation_id"' in head and b'"annotator"' in head)
        )

    def build(self) -> LabelStudioReader:
        """Return a new reader."""
        return LabelStudioReader(self)


class LabelStudioReader(RecordReader[LabelStudioReaderConfig]):
    """Reads one task a document. Offsets are code points, or what the texts of the regions say (see `counting_of`).

    Of an entity, the metadata has ``id``, the score and ``meta``; of the document, ``relations``, ``meta``, and as
    ``label_studio`` the other keys of the data and results that are no entities. A region of several labels is an
    entity of each; one without a label is in the layer ``entities``.
    """

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Raises DataError with path and line."""
        seen = _Seen(Unlike(path))
        count = yield from read_records(
            self._records(path), lambda item: self._document(item, seen), path, on_error, first, every
        )
        seen.tell(path)
        return count

    def _records(self, path: Path) -> Iterator[tuple[int, int, tuple[str, bytes]]]:
        return named_items(path)

    def _document(self, item: tuple[str, bytes], seen: _Seen | None = None) -> Document:
        seen = seen or _Seen(Unlike(Path(item[0])))
        name, data = item
        task = decode_item(data)
        if not isinstance(task, dict):
            raise DataError("is no task", value=task, expected="an object")
        values = task["data"] if isinstance(task.get("data"), dict) else task
        name = str(values.get("doc_id", task.get("id", name)))
        try:
            key = self._text_key(values)
            made = self._made(task, values)
            found = made[self.config.annotator] if self.config.annotator < len(made) else None
            results = found or []
            symbols = values[key]
            own, others = _divided(results, key, symbols, seen)
            about = _about(own, others)
            counting = counting_of(symbols, [said for said, _ in [*own, *about]])
            moved = {id(result): _at(result, counting.places(said)) for said, result in about}
            others = [moved.get(id(result), result) for result in others]
            entities = list[Labelled]()
            for said, result in own:
                segments = counting.places(said)
                check_place("a region", segments, len(symbols))
                seen.unlike.look(symbols, said, segments, f"region {result.get('id')} of {name}")
                entities += _entities(result, segments)
            relations = [_relation(result) for result in results if result.get("type") == "relation"]
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            if isinstance(exc, DataError):
                raise exc.replace(document=name) from exc
            raise DataError(
                f"cannot be read as a task: {reason_of(exc)}", document=name, expected="an export of text"
            ) from exc
        kept = {k: v for k, v in values.items() if k not in (key, "doc_id")}
        if values is task:
            kept = {k: v for k, v in kept.items() if k not in _OF_MIN and not _regions(v)}
        kept |= {"results": others} if others else {}
        metadata: dict[str, Any] = {"doc_id": name} | ({"relations": relations} if relations else {})
        metadata |= {"meta": task["meta"]} if values is not task and task.get("meta") else {}
        document = make_document(symbols, metadata | ({"label_studio": kept} if kept else {}))
        seen.others += len(made) > 1
        seen.proposed += not results and self.config.take == "annotations" and _has_proposals(task)
        add_labelled(document, entities, "" if found is None else self.config.label_layer)
        return document

    def _text_key(self, values: dict[str, Any]) -> str:
        texts = [
            k for k, value in values.items() if isinstance(value, str) and k != "doc_id" and not _is_address(value)
        ]
        wanted = self.config.text_key or ("text" if "text" in texts or len(texts) != 1 else texts[0])
        if wanted not in texts:
            raise DataError("the task has no text", value=list(values), expected=f"a text under {wanted}")
        return wanted

    def _made(self, task: dict[str, Any], values: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """Return what was labelled in a task, by each who labelled it; nothing where nobody did."""
        if values is task:  # JSON-MIN
            return [[{"type": _PLAIN, "value": each} for value in task.values() for each in _regions(value)]]
        if self.config.take == "predictions":
            made = task.get("predictions") or []
        else:
            made = task.get("annotations") or task.get("completions") or []
        return [each.get("result") or [] for each in made if not each.get("was_cancelled")]


def _has_proposals(task: dict[str, Any]) -> bool:
    made = task.get("predictions")
    return isinstance(made, list) and any(isinstance(each, dict) and each.get("result") for each in made)


def _regions(value: Any) -> list[dict[str, Any]]:
    """Return the regions of text in a value of a task of JSON-MIN."""
    return [each for each in value if isinstance(each, dict) and "start" in each] if isinstance(value, list) else []


def _is_address(value: str) -> bool:
    return _ADDRESS.fullmatch(value) is not None


@attrs.define
class _Seen:
    """What is told of a file when it is read."""

    unlike: Unlike
    proposed: int = 0
    """Tasks that have only predictions."""
    others: int = 0
    """Tasks that were labelled more than once."""
    elsewhere: Counter[str] = attrs.field(factory=Counter)
    """Regions of other texts of their tasks, by the name of the text."""
    marked_up: int = 0
    """Regions of pages of HTML, whose offsets are not those of the text."""

    def tell(self, path: Path) -> None:
        """Warn of each kind."""
        self.unlike.tell()
        if self.proposed:
            message = "%s: %s only predictions, which are not read; reader.take=predictions reads them"
            _log.warning(message, path, counted(self.proposed, "tasks", "have"))
        if self.others:
            message = "%s: %s several annotations or predictions, of which one is read; reader.annotator=N chooses it"
            _log.warning(message, path, counted(self.others, "tasks", "have"))
        if self.elsewhere:
            message = (
                "%s: %s in other texts of the tasks (%s), kept as results; reader.text_key=NAME reads another text"
            )
            number = counted(sum(self.elsewhere.values()), "regions", "are")
            _log.warning(message, path, number, ", ".join(sorted(self.elsewhere)))
        if self.marked_up:
            message = "%s: %s places of HTML, not of the text: they are kept as results"
            _log.warning(message, path, counted(self.marked_up, "regions", "have"))


def _divided(
    results: Sequence[dict[str, Any]], key: str, symbols: str, seen: _Seen
) -> tuple[list[tuple[Said, dict[str, Any]]], list[dict[str, Any]]]:
    """Return the regions of the text, each with its place, and what is neither one nor a relation.

    Of several texts of a task, it is the one that has most texts of regions at their offsets.
    """
    regions: dict[Any, list[tuple[Said, dict[str, Any]]]] = {}
    for result in results:
        if (said := _said(result)) is not None:
            regions.setdefault(result.get("to_name"), []).append((said, result))
    counting = {name: counting_of(symbols, [said for said, _ in found]) for name, found in regions.items()}
    fitting = {name: [counting[name].fits(said, symbols) for said, _ in found] for name, found in regions.items()}

    def likely(name: Any) -> tuple[int, float, bool]:
        return sum(fitting[name]), sum(fitting[name]) / len(fitting[name]), name == key

    chosen = max(regions, key=likely, default=None)
    own = list[tuple[Said, dict[str, Any]]]()
    for (said, result), fits in zip(regions.get(chosen, ()), fitting.get(chosen, ()), strict=True):
        if fits or result["type"] == _PLAIN:
            own.append((said, result))
        else:
            seen.marked_up += 1
    seen.elsewhere.update({str(name): len(found) for name, found in regions.items() if name != chosen})
    taken = {id(result) for _, result in own}
    return own, [each for each in results if id(each) not in taken and each.get("type") != "relation"]


def _about(
    own: Sequence[tuple[Said, dict[str, Any]]], others: Sequence[dict[str, Any]]
) -> list[tuple[Said, dict[str, Any]]]:
    """Return what is said of the regions, such as choices for each, which gives their place again."""
    texts = {result.get("to_name") for _, result in own}
    found = []
    for result in others:
        value = result.get("value")
        is_region = result.get("type") in (_PLAIN, _OF_HTML)
        if is_region or not isinstance(value, dict) or result.get("to_name") not in texts:
            continue
        start, stop, text = (value.get(key) for key in ("start", "end", "text"))
        if isinstance(start, int) and isinstance(stop, int):  # else they are places in HTML
            found.append((Said([(start, stop)], text if isinstance(text, str) else None), result))
    return found


def _at(result: dict[str, Any], segments: Sequence[tuple[int, int]]) -> dict[str, Any]:
    ((start, stop),) = segments
    return result | {"value": result["value"] | {"start": start, "end": stop}}


def _said(result: dict[str, Any]) -> Said | None:
    """Return where a result says that a region is; None for what is no region of text."""
    kind, value = result.get("type"), result.get("value")
    places = value if kind == _PLAIN else value.get("globalOffsets") if kind == _OF_HTML and value else None
    if not isinstance(places, dict) or "start" not in places:
        return None
    text = result["value"].get("text")
    return Said([(int(places["start"]), int(places["end"]))], text if isinstance(text, str) else None)


def _entities(result: dict[str, Any], segments: Sequence[tuple[int, int]]) -> Iterable[Labelled]:
    metadata = {"id": result["id"]} if "id" in result else {}
    metadata |= {"score": result["score"]} if result.get("score") is not None else {}
    metadata |= {"meta": result["meta"]} if result.get("meta") else {}
    labels = result["value"].get(result["type"]) or [""]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f"the labels of a region are {labels!r:.100}", value=labels, expected="a list of labels")
    for label in labels:
        yield Labelled(label, segments, dict(metadata))


def _relation(result: dict[str, Any]) -> dict[str, Any]:
    found = {
        "label": (result.get("labels") or [None])[0],
        "arguments": [["from", result["from_id"]], ["to", result["to_id"]]],
    }
    return found | ({"direction": result["direction"]} if "direction" in result else {})


def _meta(metadata: Mapping[str, Any] | Metadata) -> dict[str, Any]:
    """Return the notes of a region or task."""
    return {"meta": meta} if isinstance(meta := metadata.get("meta", None), dict) else {}


class _Kept(TypedDict, total=False):
    results: list[dict[str, Any]]


@attrs.frozen(kw_only=True)
class LabelStudioWriterConfig(DocumentWriterConfig):
    """Options of the writer ``label_studio``."""

    suffixes: ClassVar[tuple[str, ...]] = (".label_studio",)

    give: Literal["annotations", "predictions"] = option(
        "predictions", help="whether entities are proposals to correct, or what somebody has labelled"
    )
    from_name: str = option("label", help="the name of the Labels tag in the project's setup")
    to_name: str = option("text", help="the name of the Text tag in the project's setup")
    text_key: str = option("text", help="the key of the text in the data of a task")
    model_version: str = option("papermage", help="the name under which proposals are shown")
    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> LabelStudioWriter:
        """Return a new writer."""
        return LabelStudioWriter(self)


class LabelStudioWriter:
    """Writes tasks to import: proposals that people correct, or annotations.

    A document without any layer of labels, which nobody has labelled, is a task without annotations.
    """

    def __init__(self, config: LabelStudioWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; return what the format does not hold."""
        lost: Counter[str] = Counter()
        opening = b"[\n"
        for document in documents:
            target.write(opening + json_bytes(self._task(document, lost), document.id))
            opening = b",\n"
        target.write(b"[]\n" if opening == b"[\n" else b"\n]\n")
        return losses(lost)

    def _task(self, document: Document, lost: Counter[str]) -> dict[str, Any]:
        config, symbols = self.config, text_of(document)
        others = dict(noted(document.metadata, "label_studio", _Kept, lost, "metadata of documents") or {})
        results: list[dict[str, Any]] = []
        scores = []
        for number, entity in enumerate(labelled_entities(document, config.layers, lost), 1):
            if len(entity.segments) > 1:
                lost["discontinuous entities"] += 1
                continue
            start, stop = entity.segments[0]
            labels = [] if entity.label == "entities" else [entity.label]
            result: dict[str, Any] = {
                "id": str(entity.metadata.get("id", f"e{number}")),
                "from_name": config.from_name,
                "to_name": config.to_name,
                "type": "labels",
                "value": {"start": start, "end": stop, "text": symbols[start:stop], "labels": labels},
            }
            if isinstance(score := entity.metadata.get("score"), (int, float)):
                result["score"] = score
                scores.append(score)
            result |= _meta(entity.metadata)
            lost["metadata of entities"] += bool(set(entity.metadata) - {"id", "score", *_meta(entity.metadata)})
            results.append(result)
        for relation in relations_of(document, lost):
            if len(relation["arguments"]) != 2:
                lost["relations"] += 1
                continue
            (_, first), (_, second) = relation["arguments"]
            labels = [relation["label"]] if relation.get("label") else []
            results.append(
                {"type": "relation", "from_id": str(first), "to_id": str(second), "labels": labels}
                | {"direction": relation.get("direction", "right")}
            )
            lost["metadata of relations"] += bool(set(relation) - {"label", "arguments", "direction"})
        results += others.pop("results", [])
        task_id = integer_id(document.id or "")
        task: dict[str, Any] = {} if task_id is None else {"id": task_id}
        if task_id is None and document.id is not None:
            others = {"doc_id": document.id} | others
        task["data"] = others | {config.text_key: symbols}
        made: dict[str, Any] = {"result": results}
        if config.give == "predictions":
            made |= {"model_version": config.model_version} | ({"score": sum(scores) / len(scores)} if scores else {})
        marking = config.layers or [name for name in document.layer_names if name not in TEXT_LAYERS]
        is_labelled = results or any(map(document.has_layer, marking))
        task[config.give] = [made] if is_labelled or config.give == "predictions" else []
        task |= (meta := _meta(document.metadata))
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations", "label_studio", *meta})
        return task


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return LabelStudioReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return LabelStudioWriterConfig
