"""Label Studio as a client: tasks of a project → texts, and what was found in them → predictions that it shows."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import attrs
import msgspec

from papermage_core.document import Document
from papermage_core.plugin.manager import load_component
from papermage_core.serving.messages import Request, RequestError

__all__ = ["Project", "project_of", "results_of", "texts_of"]

_ADDRESS = re.compile(r"([a-z][a-z\d+.-]*://|/data/)\S*", re.IGNORECASE)
"""What stands in a task for a text that is a file elsewhere."""
_SETUP = "the project's setup"


@attrs.frozen
class Project:
    """What the setup of a project says: where texts are, and what their regions are to be called."""

    from_name: str
    to_name: str
    text_key: str
    labels: Mapping[str, str]
    """What the results call each label; empty if any will do."""


class _Task(msgspec.Struct):
    data: dict[str, Any]


class _Tasks(msgspec.Struct):
    tasks: list[_Task]
    label_config: str


class _Setup(msgspec.Struct):
    schema: str


def project_of(request: Request) -> Project:
    """Return what a request says of its project. Raises RequestError for one whose texts cannot be labelled."""
    if request.kind == "setup":
        return _project(_read(request.body, _Setup).schema)
    return _project(_read(request.body, _Tasks).label_config)


def texts_of(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the text of each task, and what errors call it. Raises RequestError for a task without one."""
    asked = _read(request.body, _Tasks)
    key = _project(asked.label_config).text_key
    for number, task in enumerate(asked.tasks):
        where, text = f"tasks[{number}].data.{key}", task.data.get(key)
        if not isinstance(text, str):
            raise RequestError(422, "there is no text", where, f"{_SETUP} says that it is there")
        if _ADDRESS.fullmatch(text):
            do = "import the texts themselves into the project; nothing is fetched from elsewhere"
            raise RequestError(422, "is an address, not a text", where, do)
        yield text, where


def results_of(documents: Sequence[Document], layers: Sequence[str], project: Project, version: str) -> bytes:
    """Return what Label Studio is answered: for each task a prediction, without labels that the project lacks."""
    target = io.BytesIO()
    names = {"from_name": project.from_name, "to_name": project.to_name, "layers": tuple(layers)}
    load_component("writer", "label_studio", **names).build().write(documents, target)
    results = [_known(task["predictions"][0], project.labels) for task in msgspec.json.decode(target.getvalue())]
    results = [each | {"model_version": version} for each in results]
    return msgspec.json.encode({"results": results, "model_version": version})


def _known(prediction: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a prediction without the labels that a project lacks, which Label Studio would not take."""
    kept = []
    for result in prediction["result"]:
        value = result["value"]
        if labels:
            value["labels"] = [labels[label] for label in value["labels"] if label in labels]
        if value["labels"]:
            kept.append(result)
    scores = [result["score"] for result in kept if "score" in result]
    return {"result": kept} | ({"score": sum(scores) / len(scores)} if scores else {})


def _read(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        what, _, where = str(exc).partition(" - at ")
        raise RequestError(422, what, where.strip("`") or "body", "expected what Label Studio sends") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestError(400, f"is not JSON: {exc}", "body", "expected what Label Studio sends") from exc


def _project(config: str) -> Project:
    if "<!DOCTYPE" in config.upper():  # which may multiply what it declares
        raise RequestError(422, "there is a DOCTYPE", _SETUP, "leave it out")
    try:
        tree = ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as exc:
        raise RequestError(422, f"is not XML: {exc}", _SETUP) from exc
    texts = {each.get("name"): each for each in tree.iter() if each.tag.lower() == "text"}
    for control in tree.iter():
        text = texts.get(control.get("toName"))
        if control.tag.lower() == "labels" and text is not None and text.get("valueType") != "url":
            labels = {
                str(label.get(key)): str(label.get("alias") or label.get("value"))
                for label in control.iter()
                for key in ("value", "alias")
                if label.tag.lower() == "label" and label.get(key)
            }
            key = text.get("value", "").removeprefix("$")
            return Project(control.get("name", ""), text.get("name", ""), key, labels)
    do = 'expected <Labels name="label" toName="text"> of a <Text name="text" value="$text">'
    raise RequestError(422, "there are no labels of a text", _SETUP, do)
