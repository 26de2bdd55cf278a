"""Checkpoints: whole at every moment, changed without touching the weights, and never more than a folder of data."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from papermage_core import checkpoint
from papermage_core.config.labelling import Labelling
from papermage_core.errors import CheckpointError
from papermage_core.files import recover
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.plugin.manager import Plugins
from tests.warm import run_warm

PLUGINS = Plugins()
COMPONENTS = {"context_encoder": "compact", "label_scheme": "bio", "model_head": "crf"}


def small_blueprint(labels: tuple[str, ...] = ("A", "B"), **encoder: Any) -> Blueprint:
    encoder_config, scheme, head = (PLUGINS.config_class(kind, name) for kind, name in COMPONENTS.items())
    return Blueprint(
        encoder=encoder_config(**{"width": 16, "rows": 200, "layout": "off"} | encoder),
        scheme=scheme(),
        tasks=(TaskBlueprint(label_field=labels, labels=labels, head=head()),),
        labelling=Labelling(label_field=labels),
        sources={kind: PLUGINS.provenance(kind, name) for kind, name in COMPONENTS.items()},
    )


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return small_blueprint()


@pytest.fixture(scope="module")
def model(blueprint: Blueprint) -> EntityModel:
    torch.manual_seed(0)
    built: EntityModel = blueprint.build_model()
    return built


@pytest.fixture
def folder(tmp_path: Path, blueprint: Blueprint, model: EntityModel) -> Path:
    """A checkpoint in a run's folder."""
    place = tmp_path / "run" / "checkpoints"
    checkpoint.save(place, blueprint, model, card="# Card\n", val_f1=0.5)
    return place


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_equal(found: EntityModel, expected: EntityModel) -> None:
    one, other = found.state_dict(), expected.state_dict()
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def test_what_is_saved_is_what_is_loaded(folder: Path, blueprint: Blueprint, model: EntityModel) -> None:
    found = checkpoint.load(folder)
    assert found.blueprint == blueprint
    assert_equal(found.model, model)
    assert not found.model.training
    assert found.facts["val_f1"] == checkpoint.read_json(folder)["val_f1"] == 0.5


def test_the_folder_of_a_run_stands_for_its_checkpoint(folder: Path, model: EntityModel) -> None:
    assert_equal(checkpoint.load(folder.parent).model, model)
    checkpoint.update(folder.parent, val_f1=0.6)
    assert checkpoint.read_json(folder.parent)["val_f1"] == 0.6
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoints"]


def test_an_option_that_is_not_known_any_more_is_told_with_the_folder(folder: Path) -> None:
    path = folder / "papermage.json"
    content = json.loads(path.read_text())
    content["encoder"]["options"]["vectors_siz"] = 3
    told = rf"^{re.escape(str(path))} does not fit .*encoder.vectors_siz \(papermage.json\): [^?]*\? "
    for version, advice in (
        (content["encoder"]["version"], "The versions that it was trained with are installed: was"),
        ("0.0.1", r"Install the versions that it was trained with: papermage_core==0\.0\.1"),
    ):
        content["encoder"]["version"] = version
        path.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=told + advice):
            checkpoint.load(folder)


def test_all_files_have_the_permissions_of_a_new_one(folder: Path) -> None:
    plain = folder.parent / "plain"
    plain.touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    assert modes == {stat.S_IMODE(plain.stat().st_mode)}


def test_an_update_changes_facts_and_card_and_leaves_the_weights_where_they_are(
    folder: Path, model: EntityModel
) -> None:
    weights, before = folder / "model.safetensors", checkpoint.read_json(folder)
    (folder / "LICENSE").write_text("mine")
    place = weights.stat()
    calibration = {"names": {"method": "beta", "a": 1.0, "b": 1.0, "c": 0.0, "fitted_on": 3}}
    checkpoint.update(folder, card="# Ünlike\n", calibration=calibration, scores={"val": 1})
    after = checkpoint.read_json(folder)
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == (place.st_ino, place.st_mtime_ns)
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Ünlike\n"
    assert (folder / "LICENSE").read_text() == "mine"
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {"calibration", "scores", "checksums", "digest"}
    checkpoint.update(folder, val_f1=0.7)
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Ünlike\n"
    found = checkpoint.load(folder)
    assert found.calibration == calibration
    assert_equal(found.model, model)


@pytest.mark.parametrize("change", ["save", "update"])
def test_what_fails_leaves_what_was_there(folder: Path, blueprint: Blueprint, model: EntityModel, change: str) -> None:
    before = contents(folder)
    new = {"save": partial(checkpoint.save, folder, blueprint, model), "update": partial(checkpoint.update, folder)}
    with pytest.raises(TypeError, match="not JSON serializable"):
        new[change](card="new", odd=object())
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoints"]


def test_a_model_trained_in_another_precision_is_kept_in_the_one_it_is_built_in(
    tmp_path: Path, blueprint: Blueprint
) -> None:
    low = blueprint.build_model().to(torch.bfloat16)
    checkpoint.save(tmp_path / "c", blueprint, low, card="")
    found = checkpoint.load(tmp_path / "c").model
    assert {value.dtype for value in found.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert_equal(found, low.float())


def test_labels_that_are_no_sound_text_are_kept(tmp_path: Path) -> None:
    odd = small_blueprint(labels=("\ud800", 'é"\n\x1b\u202e'))
    checkpoint.save(tmp_path / "c", odd, odd.build_model(), card="\ud800")
    assert checkpoint.load(tmp_path / "c").blueprint == odd


FULL = """
import resource, signal, sys
from pathlib import Path
from papermage_core import checkpoint
from papermage_core.data.labelling import Labelling
from papermage_core.errors import CheckpointError
found = checkpoint.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    checkpoint.save(Path(sys.argv[1]), found.blueprint, found.model, card="new")
except CheckpointError as exc:
    print(exc)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits files as POSIX does")
def test_a_full_disk_is_said_and_leaves_what_was_there(folder: Path) -> None:
    before = contents(folder)
    done = run_warm(FULL, str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write the checkpoint {folder}: ")
    assert "File too large" in done.stdout
    assert "What was there before is unchanged" in done.stdout
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoints"]


# Processes that are killed

KILLS = """
import os, pathlib, random, signal, sys, time
import torch
from papermage_core import checkpoint
from papermage_core.files import whole
folder, one_step, number = pathlib.Path(sys.argv[1]), sys.argv[2] == "True", int(sys.argv[3])
found = checkpoint.load(folder)
if not one_step:
    whole._exchange = lambda *_: False
chance = random.Random(number)

def save_for_ever(start):
    step = start
    while True:
        step += 1
        for value in found.model.parameters():
            value.data.fill_(step)
        checkpoint.save(folder, found.blueprint, found.model, card=f"{step}", step=step)
        checkpoint.update(folder, card=f"{step}+", updated=True)

step = kills = 0
while kills < number or step < 6:
    kills += 1
    child = os.fork()
    if not child:
        save_for_ever(step)
    time.sleep(chance.uniform(0, 0.12 + kills / 1000))  # a busy machine saves less often
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    after = checkpoint.load(folder)
    step = after.facts.get("step", 0)
    values = {float(value) for parameter in after.model.parameters() for value in parameter.flatten()[:5]}
    assert not step or values == {step}, (step, values)
    card = (folder / "README.md").read_text()
    assert not step or card == f"{step}" + "+" * after.facts.get("updated", False), card
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("one_step", [True, False])
def test_a_checkpoint_can_be_loaded_whenever_its_writer_is_killed(folder: Path, one_step: bool) -> None:
    done = run_warm(KILLS, str(folder), str(one_step), "40")
    assert done.returncode == 0, done.stderr
    recover(folder.parent)
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoints"]


WRITES = """
import pathlib, random, sys, time
from papermage_core import checkpoint
from papermage_core.files import whole
folder, chance = pathlib.Path(sys.argv[1]), random.Random(0)
if sys.argv[2] == "False":
    whole._exchange = lambda *_: False
found = checkpoint.load(folder)
print("ready", flush=True)
for step in range(1, 17):
    for value in found.model.parameters():
        value.data.fill_(step)
    checkpoint.save(folder, found.blueprint, found.model, card="", step=step)
    time.sleep(chance.uniform(0, 0.2))
    checkpoint.update(folder, more=step)
    time.sleep(chance.uniform(0, 0.2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("one_step", [True, False])
def test_a_reader_sees_the_old_model_or_the_new_one_whole(folder: Path, one_step: bool) -> None:
    steps = []
    with subprocess.Popen([sys.executable, "-c", WRITES, folder, str(one_step)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while writer.poll() is None:
            found = checkpoint.load(folder)
            step = found.facts.get("step")
            if step is not None:
                firsts = [parameter.detach().flatten()[0].item() for parameter in found.model.parameters()]
                assert set(firsts) == {step}
                steps.append(step)
    assert writer.returncode == 0
    assert steps == sorted(steps)
    assert checkpoint.load(folder).facts["more"] == 16
