"""What is kept of a model's weights, and which files hold what a model has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from papermage_core.model.weights import TensorInfo, mismatches, read_header, to_keep, unkeepable

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool]
STATES = st.dictionaries(
    st.text("abc.", min_size=1, max_size=4),
    st.tuples(st.lists(st.integers(0, 3), max_size=2), st.sampled_from(DTYPES)).map(
        lambda t: torch.ones(t[0], dtype=t[1])
    ),
    max_size=5,
)


def written(state: dict[str, Tensor], folder: Path) -> dict[str, TensorInfo]:
    save_file(to_keep(state), folder / "w.safetensors")
    return read_header(folder / "w.safetensors")


@given(state=STATES)
def test_what_is_kept_is_what_the_model_has(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert list(mismatches(state, written(state, tmp_path_factory.mktemp("weights")))) == []


@given(state=STATES, data=st.data())
def test_each_change_of_a_file_is_one_mismatch(state: dict[str, Tensor], data: st.DataObject) -> None:
    header = {name: TensorInfo(tuple(value.shape), value.dtype) for name, value in state.items()}
    changed = dict(header)
    wrong = set()
    for name, info in header.items():
        match data.draw(st.sampled_from(["leave", "drop", "shape", "type"])):
            case "drop":
                del changed[name]
                wrong.add(name)
            case "shape":
                changed[name] = TensorInfo((*info.shape, 7), info.dtype)
                wrong.add(name)
            case "type" if info.dtype != torch.int8:
                changed[name] = TensorInfo(info.shape, torch.int8)
                wrong.add(name)
            case _:
                pass
    changed["new"] = TensorInfo((1,), torch.float32)
    assert {line.partition(":")[0] for line in mismatches(state, changed)} == {*wrong, "new"}


def test_a_model_in_half_precision_is_kept_in_float32_and_one_with_both_as_it_is() -> None:
    half, full = torch.ones(2, dtype=torch.bfloat16), torch.ones(2)
    assert {value.dtype for value in to_keep({"a": half, "n": torch.ones(1, dtype=torch.int64)}).values()} == {
        torch.float32, torch.int64,
    }  # fmt: skip
    assert [value.dtype for value in to_keep({"a": half, "b": full}).values()] == [torch.bfloat16, torch.float32]


def test_a_tensor_of_two_names_is_kept_once(tmp_path: Path) -> None:
    model = nn.ModuleDict({"one": nn.Linear(2, 2, bias=False), "two": nn.Linear(2, 2, bias=False)})
    model["two"].weight = model["one"].weight
    header = written(model.state_dict(), tmp_path)
    assert list(header) == ["one.weight"]
    assert list(mismatches(model.state_dict(), header)) == []


def test_parts_of_one_tensor_are_kept_each(tmp_path: Path) -> None:
    whole = torch.arange(8.0).view(4, 2)
    state = {"whole": whole, "first": whole[:1], "middle": whole[1:3], "column": whole[:, 0], "flat": whole.view(-1)}
    assert list(mismatches(state, written(state, tmp_path))) == []
    kept = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in state.items())


class _Extra(nn.Module):
    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 3}

    def set_extra_state(self, state: dict[str, int]) -> None: ...


class _Buffer(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("w", value)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (_Buffer(torch.ones(1).expand(3)), "elements of w share memory"),
        (nn.Sequential(_Buffer(torch.ones(2, 1).expand(2, 3))), "elements of 0.w share memory"),
        (_Buffer(torch.arange(5).as_strided((3, 3), (1, 1))), "elements of w share memory"),
        (_Buffer(torch.eye(2).to_sparse()), "w is torch.sparse_coo"),
        (_Buffer(torch.ones(2, dtype=torch.complex128)), "w is torch.complex128"),
        (_Buffer(torch.ones(2, device="meta")), "w is on torch's meta device"),
        (nn.LazyLinear(2), "weight has no shape yet"),
        (_Extra(), "_extra_state of its state is no tensor but {'seen': 3}"),
    ],
)
def test_what_no_checkpoint_can_give_back_is_told(module: nn.Module, told: str) -> None:
    found = unkeepable(module)
    assert found is not None
    assert told in found[0]


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float64, torch.complex64, torch.float8_e5m2, torch.bool])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (1, 4), (2, 1, 3)])
def test_what_is_not_told_comes_back(dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path) -> None:
    module = _Buffer(torch.ones(shape).to(dtype).transpose(0, -1) if shape else torch.ones(()).to(dtype))
    if (found := unkeepable(module)) is not None:  # an old safetensors, which has fewer types
        assert "which safetensors cannot hold" in found[0]
        with pytest.raises(KeyError):
            written(module.state_dict(), tmp_path)
        return
    assert list(mismatches(module.state_dict(), written(module.state_dict(), tmp_path))) == []
    again = _Buffer(torch.zeros(module.w.shape).to(dtype))
    again.load_state_dict(load_file(tmp_path / "w.safetensors"))
    assert torch.equal(again.w.to(torch.complex64), module.w.to(torch.complex64))


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="its header would have 1099511627776 bytes"):
        read_header(file)
