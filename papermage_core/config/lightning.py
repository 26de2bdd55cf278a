"""The parameters of Lightning's ``Trainer``, read from its source: importing it would import torch.

A type that only Python can make (a ``Callback``, a ``Strategy``) becomes `Opaque`; aliases such as ``_PRECISION_INPUT``
are followed through the imports to the ``Literal`` they stand for.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union

from papermage_core.errors import ConfigError
from papermage_core.plugin.option_types import opaque
from papermage_core.plugin.options import OptionDescription
from papermage_core.plugin.source import module_source

__all__ = ["told_here", "trainer_parameters"]

_MODULE = "pytorch_lightning.trainer.trainer"
_TYPES: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "List": list,
    "dict": dict,
    "Dict": dict,
    "Iterable": Iterable,
    "Sequence": Sequence,
    "timedelta": timedelta,
    "Path": Path,
    "_PATH": str | Path,
    "Any": Any,
}
_LIMITS: Mapping[str, Mapping[str, float]] = {
    "num_nodes": {"ge": 1},
    "fast_dev_run": {"ge": 0},
    "min_epochs": {"ge": 0},
    "max_steps": {"ge": -1},
    "min_steps": {"ge": 0},
    "limit_train_batches": {"ge": 0},
    "limit_val_batches": {"ge": 0},
    "limit_test_batches": {"ge": 0},
    "limit_predict_batches": {"ge": 0},
    "overfit_batches": {"ge": 0},
    "check_val_every_n_epoch": {"ge": 1},
    "num_sanity_val_steps": {"ge": -1},
    "log_every_n_steps": {"ge": 0},
    "accumulate_grad_batches": {"ge": 1},
    "gradient_clip_val": {"ge": 0, "le": math.inf},
    "reload_dataloaders_every_n_epochs": {"ge": 0},
}
"""Of numbers that Lightning refuses late, or not at all."""
_SWITCHES = ("enable_progress_bar", "enable_model_summary", "inference_mode", "use_distributed_sampler")


def told_here(name: str) -> bool:
    """Whether any value that is read is one that Lightning takes, whatever the machine and the other parameters."""
    return name in _LIMITS or name in _SWITCHES


@functools.cache
def trainer_parameters() -> Mapping[str, OptionDescription]:
    """Return name → description of the parameters of ``pytorch_lightning.Trainer``, in the order of its signature."""
    init = _trainer_init(_tree(_MODULE))
    found = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return {
        argument.arg: OptionDescription(
            name=argument.arg,
            type=_type(argument.annotation, _MODULE) if argument.annotation is not None else Any,
            default=ast.literal_eval(default) if default is not None else None,
            help="of Lightning's Trainer",
            limits=_LIMITS.get(argument.arg, {}),
        )
        for argument, default in found
    }


def _trainer_init(tree: ast.Module) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Trainer":
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    return item
    raise ConfigError("cannot find Trainer.__init__ in pytorch_lightning: this version of it is not supported")


def _type(node: ast.expr, module: str) -> Any:
    if isinstance(node, ast.Constant):
        return _type(ast.parse(node.value, mode="eval").body, module) if isinstance(node.value, str) else node.value
    if isinstance(node, ast.BinOp):
        return Union[_type(node.left, module), _type(node.right, module)]  # noqa: UP007 - made at run time
    if isinstance(node, ast.Subscript):
        return _generic(node, module)
    if isinstance(node, ast.Name):
        return _TYPES[node.id] if node.id in _TYPES else _alias(node.id, module)
    return opaque(ast.unparse(node))


def _generic(node: ast.Subscript, module: str) -> Any:
    name = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return Literal[tuple(ast.literal_eval(item) for item in inner)]
    arguments = tuple(_type(item, module) for item in inner)
    if name == "Union":
        return Union[arguments]  # noqa: UP007 - made at run time
    if name == "Optional":
        return Union[arguments[0], None]  # noqa: UP007 - made at run time
    if name in _TYPES:
        return _TYPES[name][arguments if len(arguments) > 1 else arguments[0]]
    return opaque(ast.unparse(node))


def _alias(name: str, module: str) -> Any:
    """Return the type that ``name`` stands for in ``module``, followed through assignments and imports."""
    if not name.startswith("_"):  # Lightning's aliases are private; public names are classes
        return opaque(name)
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == name for a in node.names):
            return _alias(name, node.module)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return _type(node.value, module)
    return opaque(name)


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module).read_text(encoding="utf-8"))


def _source(module: str) -> Path:
    if (path := module_source(module)) is None:
        package = module.partition(".")[0].replace("_", "-")
        raise ConfigError(f"cannot find the source of {module}: install it with 'pip install {package}'")
    return path
