"""The files of a checkpoint, and what ``papermage.json`` must hold to be read; other facts are kept as they are."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any

import msgspec
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from papermage_core.data.labelling import OverlapPolicy
from papermage_core.plugin.kinds import KINDS

__all__ = [
    "CARD",
    "EXPORT_VERSION",
    "FEW",
    "FORMAT_VERSION",
    "JSON",
    "LEARNED",
    "LEARNED_FILES",
    "PROCESSORS",
    "PROFILE",
    "WEIGHTS",
    "Component",
    "Content",
    "Learned",
    "Part",
    "Processor",
    "check_source",
    "content_digest",
]

FORMAT_VERSION = 1
EXPORT_VERSION = 2
"""The format of a checkpoint whose encoder is an ONNX graph."""
JSON, WEIGHTS, LEARNED, CARD = "papermage.json", "model.safetensors", "learned.json", "README.md"
PROFILE = "profile.json"
LEARNED_FILES = "learned"
PROCESSORS = "processors"
FEW = 100  # unknown options, or labels, that nothing has to account for

_Name = Annotated[str, msgspec.Meta(max_length=200)]


class Part(msgspec.Struct):
    """A component within another's options, and where it came from."""

    name: _Name
    distribution: _Name
    version: _Name
    kind: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(KINDS)})$")]
    value: str = ""


class Component(msgspec.Struct):
    """A component with its options, and where it came from."""

    name: _Name
    distribution: _Name
    version: _Name
    options: dict[str, Any]
    value: str = ""
    parts: dict[str, Part] = {}


class _Labelling(msgspec.Struct):
    label_field: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    entity_name: str
    context_name: str
    label_attribute: str | None
    overlap_policy: OverlapPolicy


class _Task(msgspec.Struct):
    label_field: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    head: Component


class Processor(msgspec.Struct):
    """A document processor with its options."""

    name: str
    options: dict[str, Any]
    distribution: str = ""  # of checkpoints that were made before it was recorded
    version: str = ""


class Learned(msgspec.Struct):
    """``learned.json``: values by the names of fields; of heads, in the order of tasks."""

    encoder: dict[str, Any]
    heads: list[dict[str, Any]]


class _Output(msgspec.Struct):
    name: _Name
    width: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class _Onnx(msgspec.Struct):
    graphs: Annotated[dict[Annotated[str, msgspec.Meta(pattern="^(fp32|int8)$")], _Name], msgspec.Meta(min_length=1)]
    outputs: Annotated[tuple[_Output, ...], msgspec.Meta(min_length=1)]


class Content(msgspec.Struct):
    """``papermage.json``, as far as it is needed."""

    format_version: int
    encoder: Component
    scheme: Component
    tasks: Annotated[tuple[_Task, ...], msgspec.Meta(min_length=1)]
    labelling: _Labelling
    stride: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    checksums: dict[str, Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]]
    calibration: dict[str, dict[str, Any]] | None = None
    processors: tuple[Processor, ...] = ()
    onnx: _Onnx | None = None
    guarantees: Any = None
    digest: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Hash of all that shapes what is found; empty in checkpoints that were made before it was recorded."""

    @property
    def components(self) -> list[Component | Part]:
        """All of them, with their parts."""
        found = [self.encoder, self.scheme, *(task.head for task in self.tasks)]
        return [*found, *(part for component in found for part in component.parts.values())]


def check_source(component: Component | Part) -> None:
    """Raise ValueError unless a component names a distribution that a person can be asked to install, or a file."""
    distribution, version = component.distribution, component.version
    if version.startswith("sha256:"):
        if not re.fullmatch(r"[\w .+-]+\.py", distribution):
            raise ValueError(f"expected the name of a plugin file, got {distribution!r:.80}")
    elif (distribution, version) != ("unknown", ""):  # where metadata are missing
        try:
            if not f"{distribution}{version}".isprintable():
                raise InvalidName("odd characters")
            canonicalize_name(distribution, validate=True)
            Version(version)
        except (InvalidName, InvalidVersion) as error:
            raise ValueError(f"expected a distribution and its version: {error!s:.80}") from error


def content_digest(content: Content, *, former: bool = False) -> str:
    """Return a hash of what turns documents into entities beside weights, which need not fit it to be loaded.

    The ``former`` one, of checkpoints made before 2026-11-28, leaves out all but labels and how they are found.
    """

    def chosen(component: Component | Processor) -> Any:
        return [component.name, component.options]

    def without_path(processor: Processor) -> Any:
        """Leave out where a predictor came from: what is used is the copy within the checkpoint."""
        return [processor.name, {k: v for k, v in processor.options.items() if k != "model_name_or_path"}]

    tasks = [[task.label_field, task.labels, chosen(task.head)] for task in content.tasks]
    values = [chosen(content.scheme), tasks, content.labelling, content.stride, content.calibration]
    if not former:
        values += [chosen(content.encoder), list(map(without_path, content.processors))]
        values += [content.guarantees, content.onnx]
    return hashlib.sha256(json.dumps(msgspec.to_builtins(values), sort_keys=True).encode()).hexdigest()
