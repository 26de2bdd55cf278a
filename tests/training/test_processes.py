"""Runs of several processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pytorch_lightning.strategies import FSDPStrategy

from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.module import EntityModule
from papermage_core.training.state import RunState


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds its processes in /proc")
def test_two_processes_survive_the_death_of_one_and_score_as_one(
    train_file: Path, val_file: Path, tmp_path: Path
) -> None:
    """The validation data are fewer batches than processes."""
    folder = tmp_path / "run"
    given = {"data_path": train_file, "val_data_path": val_file, "label_field": "names,amounts", "batch_size": 64}
    given |= {"encoder.width": 16, "encoder.rows": 200, "learning_rate": 0.01, "default_root_dir": folder}
    given |= {"devices": 2, "strategy": "ddp", "accelerator": "cpu", "num_threads": 1, "resume": "auto"}
    command = [sys.executable, "-m", "papermage_core.cli.train", *(f"{key}={value}" for key, value in given.items())]

    with subprocess.Popen([*command, "max_epochs=100000"], stderr=subprocess.PIPE, text=True) as first:
        while not (folder / "metrics.csv").exists() and first.poll() is None:
            time.sleep(0.05)
        (child,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        _, err = first.communicate(timeout=120)
    assert first.returncode == 1, err
    said = [line for line in err.splitlines() if line.startswith("papermage-train:")]
    assert len(said) == 1, err
    assert f"process 1 of 2 (PID {child}) was killed by SIGKILL, so that the run cannot go on" in said[0]
    assert "resume=auto" in said[0]
    assert "Traceback" not in err

    epochs = len((folder / "metrics.csv").read_text().splitlines()) + 1
    done = subprocess.run([*command, f"max_epochs={epochs}"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(epochs)]
    results = json.loads((folder / "results" / "results.json").read_text())
    alone = EntityClassificationTrainer(
        EntityClassificationTrainConfig(
            mode="eval",
            data_path=val_file,
            label_field="names,amounts",
            model_name_or_path=str(folder / "checkpoints"),
            default_root_dir=tmp_path / "alone",
        )
    ).evaluate()
    assert results["splits"]["val"]["scores"] == alone.scores.to_json()
    assert max(float(row["val_f1"]) for row in rows) == pytest.approx(alone.scores.f1)
    assert done.stdout.count("Entities of the val documents") == 1
    assert done.stderr.count("epoch      loss") == 1


_AVERAGED = """
import os
import sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from papermage_core.training.shared_memory import average_in_shared_memory

size, store = int(sys.argv[1]), sys.argv[2]
rank = next((rank for rank in range(1, size) if os.fork() == 0), 0)
distributed.init_process_group("gloo", rank=rank, world_size=size, store=distributed.FileStore(store, size))
for shared in (True, False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 300), nn.Tanh(), nn.Linear(300, 2000), nn.Linear(2000, 1))
    model = DistributedDataParallel(model, gradient_as_bucket_view=True, bucket_cap_mb=1)
    assert not average_in_shared_memory(model.module, 1)
    assert not average_in_shared_memory(model, 2)
    own, os.getpid = os.getpid, lambda: "self"  # as in containers where each process has the same number
    assert not average_in_shared_memory(model, 1)
    os.getpid, truncate = own, os.ftruncate
    if rank == 1:  # memory that one process is not given
        os.ftruncate = lambda file, length: open("/none/such")
    assert not average_in_shared_memory(model, 1)
    os.ftruncate = truncate
    if shared:
        assert average_in_shared_memory(model, 1)
    torch.manual_seed(rank)
    for _ in range(3):
        model.zero_grad()
        model(torch.randn(5, 7)).sum().backward()
    found = [p.grad.clone() for p in model.parameters()]
    everywhere = [None] * size
    distributed.all_gather_object(everywhere, found)
    assert all(a.equal(b) for other in everywhere for a, b in zip(found, other, strict=True))
    if shared:
        mean = found
    else:
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(mean, found, strict=True))
        assert all(a.abs().sum() > 0 for a in mean)
distributed.destroy_process_group()
for _ in range(size - 1 if rank == 0 else 0):
    assert os.wait()[1] == 0
if rank == 0:
    print("equal")
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shares memory by /proc")
def test_gradients_averaged_in_shared_memory_are_those_of_gloo(tmp_path: Path) -> None:
    """Of three processes, in buckets whose sizes three does not divide, over several steps."""
    size = 3
    command = [sys.executable, "-c", _AVERAGED, str(size), str(tmp_path / "store")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.stdout == "equal\n", done.stderr


def test_means_of_all_losses_are_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, of which the other has found the same: its sums are twice those of this one."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    logged: dict[str, float] = {}
    module: Any = EntityModule.__new__(EntityModule)
    monkeypatch.setattr(EntityModule, "units_of", lambda self, batch: 1)
    monkeypatch.setattr(EntityModule, "device", torch.device("cpu"))
    monkeypatch.setattr(EntityModule, "log", lambda self, name, value, **_: logged.update({name: value}))
    state, trainer = RunState(), cast("Any", SimpleNamespace(world_size=2))
    for loss, count in ((1.0, 3), (2.0, 1)):
        batch = SimpleNamespace(index=range(count))
        outputs = {"loss": torch.tensor(loss), "starts": torch.tensor(loss / 2), "ends": torch.tensor(loss / 4)}
        state.on_train_batch_end(trainer, module, outputs, batch, 0)
    state.on_train_epoch_end(trainer, module)
    assert logged == {"train_loss": 1.25}
    assert (state.train_loss, state.train_parts) == (1.25, {"train_starts": 0.625, "train_ends": 0.3125})


def test_where_each_process_has_a_part_of_the_gradients_the_model_clips_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning refuses to, and needs a GPU for the strategy: what it would call is called here."""
    clipped: list[float] = []
    strategy = FSDPStrategy.__new__(FSDPStrategy)
    strategy.model = SimpleNamespace(clip_grad_norm_=clipped.append)  # type: ignore[assignment]
    module = EntityModule.__new__(EntityModule)
    monkeypatch.setattr(EntityModule, "trainer", SimpleNamespace(strategy=strategy))
    monkeypatch.setattr(EntityModule, "device", torch.device("cuda"))
    for value in (0.5, None, 0):
        module.configure_gradient_clipping(None, value, "norm")  # type: ignore[arg-type]
    assert clipped == [0.5]
