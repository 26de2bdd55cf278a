"""Sparse gradients of embeddings: the same as dense ones, stepped by alike, and only where nobody else reads them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import nn

from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.module import clip_gradients
from papermage_optimizers.adamw import AdamWConfig

PLUGIN = """
import attrs
from papermage_core.plugin import ContextEncoderConfig, hookimpl
from papermage_core.testing.encoder import TinyEncoder, TinyEncoderConfig

class Words(TinyEncoder):
    def make_gradients_sparse(self):
        self.words.sparse = True

@attrs.frozen(kw_only=True)
class Config(TinyEncoderConfig):
    def build(self, folder=None):
        return Words(self)

@hookimpl
def papermage_context_encoder():
    return Config
"""


def both(weight_decay: float = 0.0) -> list[tuple[nn.Module, torch.optim.Optimizer]]:
    """The same embedding and layer with gradients that are dense, and that are sparse."""
    made = []
    for sparse in (False, True):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Embedding(50, 6, sparse=sparse), nn.Linear(6, 3))
        groups = [
            {"params": list(model[0].parameters()), "lr": 0.01, "weight_decay": weight_decay},
            {"params": list(model[1].parameters()), "lr": 0.02, "weight_decay": 0.0},
        ]
        made.append((model, AdamWConfig(beta2=0.99).build(groups)))
    return made


def step(model: nn.Module, optimizer: torch.optim.Optimizer, rows: list[int], max_norm: float = 0.0) -> float:
    optimizer.zero_grad()
    (model(torch.tensor(rows)).square().sum() + model[1].weight.sum()).backward()
    norm = clip_gradients(model.parameters(), max_norm).item() if max_norm else 0.0
    optimizer.step()
    return norm


BATCHES = [[1, 2, 2, 5], [2], [40, 41, 1, 1, 1], [7], [49, 0], [5, 5]] * 5


def test_rows_with_gradients_get_what_dense_gradients_give() -> None:
    (dense, by_dense), (sparse, by_sparse) = both()
    for rows in BATCHES:
        for max_norm in (0.5, 1e3):
            assert step(sparse, by_sparse, rows, max_norm) == pytest.approx(step(dense, by_dense, rows, max_norm))
    for one, other in zip(dense.parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_weight_decay_begins_with_the_first_gradient() -> None:
    (dense, by_dense), (sparse, by_sparse) = both(weight_decay=0.3)
    before = sparse[0].weight.detach().clone()
    for model, optimizer in ((dense, by_dense), (sparse, by_sparse)):
        for rows in ([3, 4], [3]):
            step(model, optimizer, rows)
    torch.testing.assert_close(sparse[0].weight[[3, 4]], dense[0].weight[[3, 4]])
    never = [row for row in range(50) if row not in (3, 4)]
    assert torch.equal(sparse[0].weight[never], before[never])
    assert not torch.equal(dense[0].weight[never], before[never])
    assert by_sparse.state[sparse[0].weight]["exp_avg"].shape == (2, 6)  # memory is that of the rows seen


@pytest.mark.parametrize(("first", "then"), [(True, True), (False, True), (True, False)])
def test_a_state_is_gone_on_from_whatever_the_gradients_were(first: bool, then: bool) -> None:
    (whole, by_whole), _ = both()
    for rows in BATCHES:
        step(whole, by_whole, rows)
    model, optimizer = both()[first]
    for rows in BATCHES[:11]:
        step(model, optimizer, rows)
    rest, by_rest = both()[then]
    rest.load_state_dict(model.state_dict())
    by_rest.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for rows in BATCHES[11:]:
        step(rest, by_rest, rows)
    torch.testing.assert_close(list(rest.parameters()), list(whole.parameters()), atol=1e-6, rtol=1e-6)


def test_gradients_that_are_sparse_in_other_ways_are_refused() -> None:
    weight = nn.Parameter(torch.eye(3))
    optimizer = AdamWConfig().build([{"params": [weight], "lr": 0.01, "weight_decay": 0.0}])
    weight.grad = torch.eye(3).to_sparse()
    with pytest.raises(RuntimeError, match="2 sparse dimensions"):
        optimizer.step()


class Gradients(pl.Callback):
    """Keeps whether a gradient was sparse, by the step of the optimizer, which no other callback is asked about."""

    def __init__(self) -> None:
        self.sparse: set[bool] = set()

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        self.sparse |= {weight.grad.is_sparse for weight in module.parameters() if weight.grad is not None}


class Reads(pl.Callback):
    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        assert all(weight.grad.max() < 1e9 for weight in module.parameters() if weight.grad is not None)


def trained(folder: Path, data: Path, **values: Any) -> tuple[Gradients, dict[str, torch.Tensor]]:
    plugin = folder.with_suffix(".py")
    plugin.write_text(PLUGIN)
    seen = Gradients()
    given = {"data_path": data, "label_field": "names,amounts", "max_epochs": 2, "enable_progress_bar": False}
    given |= {"plugins_path": [plugin], "encoder": plugin.stem, "head": "linear", "default_root_dir": folder}
    config = EntityClassificationTrainConfig(**given | values | {"callbacks": [seen, *values.get("callbacks", [])]})
    result = EntityClassificationTrainer(config).train()
    return seen, load_file(result.checkpoint / "model.safetensors")


def test_a_run_with_sparse_gradients_ends_as_one_with_dense_ones(
    train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"learning_rate": 0.01, "weight_decay": 0.0, "gradient_clip_val": 0.1, "val_split": 0.25}
    for name, changes in (("one", {}), ("summed", {"accumulate_grad_batches": 2})):
        seen, sparse = trained(tmp_path / f"{name}_sparse", train_file, **given | changes)
        with monkeypatch.context() as patch:
            patch.setattr(AdamWConfig, "takes_sparse_gradients", False)
            not_seen, dense = trained(tmp_path / f"{name}_dense", train_file, **given | changes)
        assert (seen.sparse, not_seen.sparse) == ({True, False}, {False})
        for weight, other in zip(sparse.values(), dense.values(), strict=True):
            torch.testing.assert_close(weight, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "reads",
    [{"gradient_clip_algorithm": "value", "gradient_clip_val": 0.5}, {"callbacks": [Reads()]}],
    ids=["by value", "a callback"],
)
def test_gradients_stay_dense_where_others_read_them(reads: dict[str, Any], train_file: Path, tmp_path: Path) -> None:
    assert trained(tmp_path / "run", train_file, max_epochs=1, **reads)[0].sparse == {False}
