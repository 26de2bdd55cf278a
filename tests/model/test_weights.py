"""What is kept of a model's weights, and which files hold what a model has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from papermage_core.model.weights import TensorInfo, mismatches, read_header, to_keep

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


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="its header would have 1099511627776 bytes"):
        read_header(file)
