"""The conformance suite of optimizers."""

from __future__ import annotations

import copy
import io
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from papermage_core.plugin.spec import OptimizerConfig
from papermage_core.testing.checks import require, working
from papermage_core.testing.component import ComponentSuite

__all__ = ["OptimizerSuite"]

_STEPS = 30
_DECAY = 0.01


class OptimizerSuite(ComponentSuite):
    """Subclass as ``class TestMine(OptimizerSuite): component = "mine"``."""

    kind: ClassVar[str] = "optimizer"
    learning_rate: ClassVar[float] = 0.05
    """A rate at which it learns a small regression in 30 steps."""

    def test_what_it_builds_is_an_optimizer_of_torch(self) -> None:
        """With the groups that it was given, their own rates and weight decay."""
        for config in self.configs():
            for mixed in (False, True):
                groups = _groups(_model(), self.learning_rate)
                optimizer = config.build(groups, mixed=mixed)
                require(
                    isinstance(optimizer, torch.optim.Optimizer),
                    f"build returned {optimizer!r}",
                    "return a torch.optim.Optimizer, or a subclass of your own",
                )
                rates = [group["lr"] for group in optimizer.param_groups]
                require(
                    rates == [self.learning_rate, 10 * self.learning_rate],
                    f"the groups' learning rates became {rates}",
                    "pass the groups on as they are: they hold lr and weight_decay",
                )
                decays = [group.get("weight_decay") for group in optimizer.param_groups]
                require(
                    decays == [_DECAY, 0.0],
                    f"the groups' weight decay became {decays}",
                    "pass the groups on as they are: weight decay is an option of the run",
                )

    def test_it_learns(self) -> None:
        """The loss of a small regression falls, and every parameter moves."""
        for config in self.configs():
            model = _model()
            before = copy.deepcopy(model.state_dict())
            optimizer, losses = _trained(config, model, 1, self.learning_rate)
            once = copy.deepcopy(model.state_dict())
            losses += _steps(model, optimizer, _STEPS - 1)
            still = [  # a step of a fixed size may come back to where it began
                name
                for name, value in model.state_dict().items()
                if torch.equal(value, before[name]) and torch.equal(once[name], before[name])
            ]
            require(not still, f"parameters that never moved: {', '.join(still)}", "step all groups")
            require(
                math.isfinite(losses[-1]) and losses[-1] < 0.9 * losses[0],
                f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f} in {_STEPS} steps",
                "check the sign of the step and its size; or set learning_rate in the suite",
            )

    def test_rates_and_decay_are_those_of_the_groups(self) -> None:
        """A schedule changes the rates of the groups between steps; weight decay draws what it is given for to 0."""
        for config in self.configs():
            with_rate, without = (self._moved(config, rate) for rate in (self.learning_rate, 0.0))
            require(
                without <= with_rate / 2,  # some go on for a little from where they were
                f"ten steps with learning rates of 0 move weights by {without:.2g}, others by {with_rate:.2g}",
                'take the rate from group["lr"] in each step: the schedule sets it there',
            )
            ends = []
            for decay in (0.0, 0.5):
                model = _model()
                groups = _groups(model, self.learning_rate)
                groups[0]["weight_decay"] = decay
                optimizer = config.build(groups)
                _steps(model, optimizer, 5)
                ends.append(torch.cat([p.detach().flatten() for p in groups[0]["params"]]))
            if "weight_decay" in optimizer.defaults:
                require(
                    not torch.equal(*ends),
                    "a weight decay of 0.5 changes nothing",
                    'take it from group["weight_decay"]: it is an option of the run',
                )

    def _moved(self, config: OptimizerConfig, rate: float) -> float:
        """Return how far ten steps at a rate move the weights, after three at the usual one."""
        model = _model()
        optimizer, _ = _trained(config, model, 3, self.learning_rate)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        for group in optimizer.param_groups:
            group["lr"] = rate
        _steps(model, optimizer, 10)
        return float((torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm())

    def test_parameters_without_a_gradient_are_passed_over(self) -> None:
        """Not every step reaches every parameter; and a group may have none."""
        remedy = "pass over parameters whose grad is None"
        for config in self.configs():
            both = nn.ModuleList([_model(), nn.Linear(3, 3)])
            groups = _groups(both, self.learning_rate)
            optimizer = config.build(groups)
            before = copy.deepcopy(both[1].state_dict())
            with working("a step in which some parameters have no gradient", remedy):
                _steps(both[0], optimizer, 2)
            same = all(torch.equal(value, before[name]) for name, value in both[1].state_dict().items())
            require(same, "parameters without a gradient were moved", remedy)
            with working("a group without parameters", remedy):
                model = _model()
                groups = _groups(model, self.learning_rate)
                _steps(model, config.build([*groups, {**groups[0], "params": []}]), 1)

    def test_equal_runs_are_equal(self) -> None:
        """Nothing is drawn from a generator but torch's seeded one, and nothing is kept between optimizers."""
        for config in self.configs():
            first, second = _model(), _model()
            for model in (first, second):
                torch.manual_seed(0)
                _trained(config, model, 5, self.learning_rate)
            same = all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
            require(same, "two equal runs end with other weights", "keep all state in the optimizer, draw from torch")

    def test_a_run_that_is_resumed_ends_the_same(self) -> None:
        """All that it keeps is in ``state_dict``."""
        for config in self.configs():
            whole, half = _model(), _model()
            _trained(config, whole, 6, self.learning_rate)
            optimizer, _ = _trained(config, half, 3, self.learning_rate)
            state = _kept(optimizer.state_dict())
            rest = _model()
            rest.load_state_dict(half.state_dict())
            again = config.build(_groups(rest, self.learning_rate))
            again.load_state_dict(state)
            _steps(rest, again, 3)
            same = all(
                torch.allclose(a, b, atol=1e-7) for a, b in zip(whole.parameters(), rest.parameters(), strict=True)
            )
            require(same, "a run stopped after 3 of 6 steps ends elsewhere", "keep what you count in self.state")

    def test_sparse_gradients_are_stepped_by(self) -> None:
        """Where ``takes_sparse_gradients``: rows that have had a gradient end where dense gradients bring them."""
        for config in self.configs():
            if not config.takes_sparse_gradients:
                continue
            ends = []
            for sparse in (False, True):
                torch.manual_seed(1)
                table = nn.Embedding(6, 4, sparse=sparse)
                optimizer = config.build(_groups(table, self.learning_rate))
                for rows in ([0, 1, 2, 3, 4], [1, 1, 3], [4], [0, 3]):
                    optimizer.zero_grad()
                    table(torch.tensor(rows)).square().sum().backward()
                    with working("a step by sparse gradients", "take them, or leave takes_sparse_gradients False"):
                        optimizer.step()
                ends.append(table.weight.detach()[:5])
            require(
                torch.allclose(ends[0], ends[1], atol=1e-6),
                "rows end elsewhere by sparse gradients than by dense ones",
                "add up what stands twice (coalesce), and step rows that have had a gradient at each step",
            )

    def test_the_schedule_is_made_of_shares(self) -> None:
        """``factor`` is finite and not negative at every step, and is told of the end of the run."""
        for config in self.configs():
            for total, warmup in ((100.0, 10.0), (1.0, 0.0), (10.0, 10.0), (100.0, 0.0)):
                factors = [config.factor(step, total, warmup) for step in range(int(total) + 1)]
                require(
                    all(math.isfinite(factor) and factor >= 0 for factor in factors) and max(factors) > 0,
                    f"factor gives {factors[:3]} … {factors[-1]} over {total:g} steps, {warmup:g} of them to rise",
                    "return a number from 0 on for every step, the last included",
                )
                again = [config.factor(step, total, warmup) for step in reversed(range(int(total) + 1))][::-1]
                require(again == factors, "factor gives another number a second time", "compute it from its arguments")
            with working("factor of steps that are no whole numbers", "compute it from floats"):
                between = [config.factor(step, 10.5, 2.5) for step in (0.0, 0.5, 2.5, 7.25, 10.5)]
            require(
                all(math.isfinite(factor) and factor >= 0 for factor in between),
                f"factor gives {between} between steps",
                "return a number from 0 on",
            )


def _kept(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as it comes back from ``last.ckpt``, which is read without running code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    with working("reading the state of the optimizer from a checkpoint", "keep tensors and plain values in self.state"):
        found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


def _model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def _data() -> tuple[Tensor, Tensor]:
    inputs = torch.linspace(-1, 1, 64).reshape(16, 4)
    return inputs, inputs.sum(1, keepdim=True).sin()


def _groups(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "lr": rate, "weight_decay": _DECAY},
        {"params": [p for p in parameters if p.ndim < 2], "lr": 10 * rate, "weight_decay": 0.0},
    ]


def _trained(
    config: OptimizerConfig, model: nn.Module, steps: int, rate: float
) -> tuple[torch.optim.Optimizer, list[float]]:
    optimizer = config.build(_groups(model, rate))
    return optimizer, _steps(model, optimizer, steps)


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    inputs, wanted = _data()
    losses: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        return loss

    for _ in range(steps):
        optimizer.step(closure)  # type: ignore[arg-type]  # torch types what it returns as a float
    return losses
