"""What a run goes on from: a checkpoint's encoder and heads, fitted to the labels that are new."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core import checkpoint
from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.structure import learned_values, unstructure, with_learned
from papermage_core.data.corpus import Corpus
from papermage_core.data.labelling import Labelling, Task
from papermage_core.errors import ConfigError
from papermage_core.evaluation import Profile
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.model.entity_model import EntityModel, check_module
from papermage_core.plugin.blame import built
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextEncoderConfig, LabelScheme, ModelHeadConfig
from papermage_core.training.folder import flat

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Start"]

_log = logging.getLogger(__name__)
_KINDS = {"head": "model_head", "label_scheme": "label_scheme"}


@attrs.frozen(kw_only=True, eq=False)
class Start:
    """A checkpoint that training goes on from."""

    path: Path
    """As it was given."""
    folder: Path
    """Where the checkpoint is."""
    blueprint: Blueprint
    model: EntityModel
    profile: Profile | None
    digest: str
    """Hash of all that it holds."""

    @classmethod
    def of(cls, config: EntityClassificationTrainConfig) -> Start | None:
        """Return the checkpoint that a config starts from; None if it starts from nothing.

        Raises CheckpointError for one that is damaged, PluginError where its components are not installed.
        """
        path = config.start_from
        if path is None:
            return None
        digest = checkpoint.digest(path)
        found = checkpoint.load(path, plugins=Plugins(config.plugins_path))
        return cls(
            path=path,
            folder=found.folder,
            blueprint=found.blueprint,
            model=found.model,
            profile=checkpoint.read_profile(path),
            digest=digest,
        )

    def components(self, components: ComponentConfigs) -> ComponentConfigs:
        """Return the components with what the encoder has learned. Raises ConfigError where its weights do not fit."""
        own, known = components.encoder, self.blueprint.encoder
        if type(own) is not type(known):
            raise ConfigError(
                f"start_from={self.path}: has the encoder {type(known).__name__}, not {type(own).__name__}: leave "
                "encoder out"
            )
        encoder = with_learned(own, learned_values(known))
        if encoder != known:  # told before documents are read
            self._fill_encoder(check_module(built(encoder, self.folder / "encoder"), encoder), encoder)
        return attrs.evolve(components, encoder=encoder)

    def labels(self, labelling: Labelling, names: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Return the labels of each task, where ``names`` are those of the training documents.

        Where labels are found in the documents, those of the checkpoint come first, and stay though nothing has them.
        """
        if labelling.label_attribute is None:
            return list(names)
        found = []
        for fields, labels in zip(labelling.task_fields, names, strict=True):
            task = self._task(fields, labels, len(names))
            known = () if task is None else task.labels
            if lost := [label for label in known if label not in labels]:
                _log.warning(
                    "no training document has the %s of start_from %s: what it knows of %s may be unlearnt",
                    "label" if len(lost) == 1 else "labels",
                    _listed(lost),
                    "it" if len(lost) == 1 else "them",
                )
            found.append((*known, *(label for label in labels if label not in known)))
        return found

    def head(self, config: ModelHeadConfig, task: Task, count: int) -> ModelHeadConfig | None:
        """Return the config of one of ``count`` heads with what that of the checkpoint learned.

        None where there is none for just these labels.
        """
        labels = tuple(task.labels)
        known = self._task(task.label_field, labels, count)
        if known is None or type(config) is not type(known.head) or labels != known.labels:
            return None
        return with_learned(config, learned_values(known.head))

    def _task(self, fields: tuple[str, ...], labels: Sequence[str], count: int) -> TaskBlueprint | None:
        """Return the task of the checkpoint that one of ``count`` goes on from: of the same fields, or the only one."""
        tasks = self.blueprint.tasks
        if len(tasks) == count == 1:
            return tasks[0] if {*labels} & {*tasks[0].labels} else None
        return next((task for task in tasks if task.label_field == fields), None)

    def build(self, blueprint: Blueprint) -> EntityModel:
        """Return the model of a blueprint with the weights of the checkpoint, as far as its labels are known there.

        Raises ConfigError where the encoder's do not fit.
        """
        model = blueprint.build_model(self.folder / "encoder")
        self._fill_encoder(model.encoder, blueprint.encoder)  # type: ignore[arg-type]
        for number, (task, head) in enumerate(zip(blueprint.tasks, model.heads, strict=True)):
            known = self._task(task.label_field, task.labels, len(blueprint.tasks))
            if known is None:
                _log.info("the head for %s begins anew: start_from has none of these labels", _listed(task.labels))
                continue
            place = self.blueprint.tasks.index(known)
            former = self.blueprint.built_tasks[place].scheme
            own = blueprint.built_tasks[number].scheme
            if type(head) is not type(self.model.heads[place]) or type(own) is not type(former):
                there = " ".join(f"{key}={self.blueprint.sources[kind]['name']}" for key, kind in _KINDS.items())
                _log.info("the head begins anew: start_from has %s", there)
                continue
            if new := [label for label in task.labels if label not in known.labels]:
                _log.info("new to start_from: %s", _listed(new))
            if lost := _fill_head(head, self.model.heads[place], own, former):
                _log.warning("begins anew, for it does not fit the head of start_from: %s", _listed(lost))
        return model

    def _fill_encoder(self, encoder: nn.Module, config: ContextEncoderConfig) -> None:
        former: Mapping[str, Tensor] = self.model.encoder.state_dict()  # type: ignore[attr-defined]
        own = encoder.state_dict()
        wrong = [name for name in {**own, **former} if name not in own or name not in former]
        wrong += [name for name, value in own.items() if name not in wrong and value.shape != former[name].shape]
        if not wrong:
            encoder.load_state_dict(former)
            return
        here, there = (dict(flat(unstructure(each), "encoder.")) for each in (config, self.blueprint.encoder))
        others = [f"{key}={value} (there {there.get(key)})" for key, value in here.items() if value != there.get(key)]
        raise ConfigError(
            f"start_from={self.path}: its weights do not fit the encoder, such as {wrong[0]}; "
            f"{'leave out ' + ', '.join(others) if others else 'train from scratch without start_from'}"
        )

    def seen(self, corpus: Corpus) -> NDArray[np.bool_]:
        """Return which documents the checkpoint was trained on. Shape (documents,)."""
        known = np.zeros(0, np.uint64) if self.profile is None else self.profile.documents
        digests = np.ascontiguousarray(corpus.digest[corpus.row])
        first = digests.view("<u8").reshape(-1, 2)[:, 0] if len(digests) else np.zeros(0, np.uint64)
        return np.isin(first, known)


def _fill_head(head: nn.Module, former: nn.Module, own: LabelScheme, known: LabelScheme) -> list[str]:
    """Copy the weights of a head into one whose labels may be others; return the names of those that do not fit.

    Where an axis has a place for each tag, or label, places of the same name go together, and those of new ones stay as
    they were drawn: rows of a classifier, transitions of a CRF, in whatever head.
    """
    names = [_Names(own.tags, known.tags), _Names(own.labels, known.labels)]
    names = [] if all(each.own == each.known for each in names) else names
    trained = {name for name, _ in head.named_parameters()}
    before, state, lost = former.state_dict(), head.state_dict(), []
    for name, value in state.items():
        old = before.get(name)
        places = None if old is None else _places(tuple(value.shape), tuple(old.shape), names)
        if old is None or places is None:
            lost.append(name)
        elif not names or name in trained or value.is_floating_point():  # else a number that may depend on labels
            to, of = zip(*places, strict=True) if places else ((), ())
            state[name] = value.clone()
            state[name][np.ix_(*to)] = old[np.ix_(*of)].to(value.dtype)
    head.load_state_dict(state)
    return lost


@attrs.frozen
class _Names:
    """What the places of an axis stand for, here and in the checkpoint."""

    own: tuple[str, ...]
    known: tuple[str, ...]

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places, here and there, of names that both have."""
        there = {name: place for place, name in enumerate(self.known)}
        both = [(place, there[name]) for place, name in enumerate(self.own) if name in there]
        pairs = np.array(both, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


def _places(
    own: tuple[int, ...], known: tuple[int, ...], axes: Sequence[_Names]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
    """Return for each axis which places go together; None where one differs that stands for no tags or labels."""
    if len(own) != len(known):
        return None
    found = []
    for here, there in zip(own, known, strict=True):
        names = next((each for each in axes if (len(each.own), len(each.known)) == (here, there)), None)
        if names is None and here != there:
            return None
        found.append((np.arange(here), np.arange(there)) if names is None else names.places())
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
