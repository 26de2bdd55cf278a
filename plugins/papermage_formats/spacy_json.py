"""JSON of spaCy, Prodigy and NER Annotator: spans of a text, with tokens, or tokens of sentences with tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_formats.labelled import Labelled, add_labelled, label_of, make_document, reason_of, unreadable
from papermage_formats.tags import tagged_stretches
from papermage_formats.tokenized import annotate_places, annotate_spans, annotate_stretches

__all__ = ["is_of_ner_annotator", "is_spacy_json", "spacy_json_document"]

_TUPLES = re.compile(rb'\s*(?:\[\s*)?\[\s*"(?:[^"\\]|\\.)*"\s*,\s*\{\s*"(?:entities|spans|cats)"')
_NER_ANNOTATOR = re.compile(rb'"annotations"\s*:\s*\[\s*(?:null|\[\s*")')
_PRODIGY = re.compile(
    rb'"(_input_hash|_task_hash|token_start)"|"answer"\s*:\s*"(accept|reject|ignore)"'
    rb'|"spans"\s*:\s*\[\s*(\]|\{[^{}\[\]]*"(start|end)"\s*:)'
)
_OF_DOC = re.compile(rb'"ents"\s*:\s*\[\s*(\]|\{\s*"start"\s*:)')
_READ = ("text", "spans", "tokens", "relations", "answer")
_OF_SPAN = ("start", "end", "label", "text", "token_start", "token_end", "type")
"""What of a task of Prodigy, and of its spans, has a place in a document."""
_NEXT = re.compile(r"\S|$")
_PENN = {"``": ('"',), "''": ('"',), "-LRB-": ("(",), "-RRB-": (")",), "-LSB-": ("[",), "-RSB-": ("]",)}
"""How the Penn Treebank writes what stands in the text."""
_KEYS = ("orth", "tag", "pos", "lemma", "dep", "head", "morph", "norm")


def is_spacy_json(head: bytes) -> bool:
    """Whether a file that begins so is one of these."""
    if b'"paragraphs"' in head and b'"orth"' in head:
        return True
    if _TUPLES.match(head) or is_of_ner_annotator(head):
        return True
    if b'"text"' not in head or b'"symbols"' in head:
        return False
    return _PRODIGY.search(head) is not None or _OF_DOC.search(head) is not None


def is_of_ner_annotator(head: bytes) -> bool:
    """Whether a file that begins so is an export of NER Annotator: ``{"classes": [], "annotations": [[text, {}]]}``.

    https://github.com/tecoholic/ner-annotator; what nobody has come to yet is null in it.
    """
    return b'"classes"' in head and _NER_ANNOTATOR.search(head) is not None


def spacy_json_document(value: Any, name: str, label_layer: str = "") -> Document:
    """Return the document of an item. Raises DataError.

    An item is ``{"text": ..., "spans": [...]}`` of Prodigy, ``{"text": ..., "ents": [...]}`` of ``Doc.to_json``,
    ``[text, {"entities": ...}]``, or ``{"paragraphs": ...}``.
    """
    try:
        if isinstance(value, list) and len(value) == 2 and isinstance(value[1], Mapping):
            return _of_pair(value[0], value[1], name, label_layer)
        if isinstance(value, dict) and "paragraphs" in value:
            return _of_paragraphs(value, name, label_layer)
        if isinstance(value, dict) and isinstance(value.get("text"), str) and isinstance(value.get("ents"), list):
            return _of_doc(value, name, label_layer)
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            return _of_prodigy(value, name, label_layer)
    except DataError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        raise DataError(
            f"cannot be read as JSON of spaCy or Prodigy: {reason_of(exc)}", expected="text and spans"
        ) from exc
    raise DataError("is no JSON of spaCy or Prodigy", value=value, expected="an object with text and spans")


def _of_pair(text: str, said: Mapping[str, Any], name: str, label_layer: str) -> Document:
    cats = {"cats": said["cats"]} if said.get("cats") else {}
    groups = said.get("spans") or {}
    document = make_document(text, {"doc_id": name} | cats | ({"span_groups": list(groups)} if groups else {}))
    entities = {label_layer: said.get("entities") or ()} if "entities" in said else {}
    for layer, spans in {**entities, **groups}.items():
        add_labelled(document, list(map(_triple, spans)), layer)
    return document


def _of_doc(value: dict[str, Any], name: str, label_layer: str) -> Document:
    """Return the document of what ``Doc.to_json`` gives."""
    groups = value.get("spans") or {}
    metadata = {key: value[key] for key in ("cats", "_") if value.get(key)}
    metadata = {"user_data" if key == "_" else key: found for key, found in metadata.items()}
    metadata |= {"span_groups": list(groups)} if groups else {}
    document = make_document(value["text"], {"doc_id": name} | metadata)
    tokens = [token for token in value.get("tokens") or () if token["start"] < token["end"]]
    if tokens:
        present = [key for key in _KEYS[1:] if any(token.get(key) not in (None, "") for token in tokens)]
        columns = {key: [token.get(key) for token in tokens] for key in present}
        annotate_places(document, "tokens", [(token["start"], token["end"]) for token in tokens], columns)
    sentences = [(each["start"], each["end"]) for each in value.get("sents") or () if each["start"] < each["end"]]
    if sentences:
        annotate_places(document, "sentences", sentences)
    for layer, spans in {label_layer: value["ents"], **groups}.items():
        known = ("start", "end", "label")
        add_labelled(
            document,
            [
                Labelled(
                    label_of(span.get("label")),
                    [(span["start"], span["end"])],
                    {key: found for key, found in span.items() if key not in known and found not in (None, "")},
                )
                for span in spans
            ],
            layer,
        )
    return document


def _triple(found: Any) -> Labelled:
    """Return the entity of ``[start, end, label]``; spaCy has the knowledge base's id behind that. Raises DataError."""
    if not isinstance(found, (list, tuple)) or not 3 <= len(found) <= 4 or not isinstance(found[2], str):
        raise unreadable("an entity", found, "[start, end, label]")
    start, stop, label, *more = found
    return Labelled(label, [(start, stop)], {"kb_id": more[0]} if more and more[0] else {})


def _of_prodigy(task: dict[str, Any], name: str, label_layer: str) -> Document:
    """Return the document of a task; of one that was not accepted, without its spans."""
    answer = task.get("answer", "accept")
    accepted = answer == "accept"
    for span in task.get("spans") or ():
        if not isinstance(span, dict):
            raise unreadable(
                "an entity", span, "an object with start, end and label; lists: reader=doccano reader.label_key=spans"
            )
    spans = sorted(task.get("spans") or () if accepted else (), key=lambda span: int(span["start"]))
    relations = task.get("relations") or () if accepted else ()
    names = {(span["start"], span["end"]): f"T{number}" for number, span in enumerate(spans, 1)} if relations else {}
    metadata: dict[str, Any] = {"doc_id": name} | ({} if accepted else {"answer": answer})
    metadata |= _others(task, _READ)
    found = []
    for relation in relations:
        ends = [relation[key] for key in ("head_span", "child_span")]
        arguments = [
            [role, names.get((end["start"], end["end"]))] for role, end in zip(("head", "child"), ends, strict=True)
        ]
        found.append({"label": relation.get("label"), "arguments": arguments})
    document = make_document(task["text"], metadata | ({"relations": found} if found else {}))
    tokens = [token for token in task.get("tokens") or () if token["start"] < token["end"]]
    if tokens:
        annotate_spans(document, "tokens", [token["start"] for token in tokens], [token["end"] for token in tokens])
    entities = [
        Labelled(
            label_of(span.get("label")),
            [(int(span["start"]), int(span["end"]))],
            ({"id": names[span["start"], span["end"]]} if names else {}) | _others(span, _OF_SPAN),
        )
        for span in spans
    ]
    add_labelled(document, entities, label_layer if accepted and "spans" in task else "")
    return document


def _others(found: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """Return as metadata what has no place in a document."""
    others = {key: value for key, value in found.items() if key not in known and value not in (None, {}, [])}
    return {"prodigy": others} if others else {}


def _of_paragraphs(item: dict[str, Any], name: str, label_layer: str) -> Document:
    texts, rows, sentences = list[str](), list[dict[str, Any]](), list[int]()
    places, paragraphs = list[tuple[int, int]](), list[tuple[int, int]]()
    entities, at = list[Labelled](), 0
    for paragraph in item["paragraphs"]:
        own = [sentence["tokens"] for sentence in paragraph.get("sentences") or () if sentence["tokens"]]
        words = [[token["orth"] for token in tokens] for tokens in own]
        text = paragraph.get("raw") or "\n".join(" ".join(each) for each in words)
        first = len(rows)
        sentences += (first + np.cumsum([0, *map(len, words[:-1])])).tolist() if words else []
        rows += [token for tokens in own for token in tokens]
        places += [(at + a, at + b) for a, b in _found(text, [word for each in words for word in each])]
        entities += [
            Labelled(label_of(label), [(at + a, at + b)], {}) for a, b, label in paragraph.get("entities") or ()
        ]
        paragraphs.append((at, at + len(text)))
        texts.append(text)
        at += len(text) + 1
    doc_id = item.get("id")
    document = make_document("\n".join(texts), {"doc_id": name if doc_id is None else str(doc_id)})
    start, stop = np.array(places, np.int64).reshape(-1, 2).T
    if rows:
        present = [key for key in _KEYS[1:] if any(key in token for token in rows)]
        annotate_spans(document, "tokens", start, stop, {key: [token.get(key) for token in rows] for key in present})
        lasts = [after - 1 for after in [*sentences[1:], len(rows)]]
        annotate_spans(document, "sentences", start[sentences], stop[lasts])
    full = [(a, b) for a, b in paragraphs if a < b]
    annotate_places(document, "paragraphs", full)
    tags = [tag if (tag := token.get("ner") or "O") != "-" else "O" for token in rows]
    if entities:
        add_labelled(document, entities, label_layer)
    else:
        annotate_stretches(document, tagged_stretches(tags, sentences), start, stop, label_layer)
    return document


def _found(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Return where in a text its words stand, one after the other. Raises DataError."""
    places, at = list[tuple[int, int]](), 0
    for word in words:
        start = found.start() if (found := _NEXT.search(text, at)) else len(text)
        written = next((form for form in (word, *_PENN.get(word, ())) if form and text.startswith(form, start)), None)
        if written is None:
            raise DataError(f"the token {word!r} is not in the text at character {start}", value=word)
        at = start + len(written)
        places.append((start, at))
    return places
