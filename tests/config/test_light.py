"""Reading and checking a config imports neither torch nor Lightning; its modules import each other in no circle."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parsing import parsed

ROOT = Path(__file__).parents[2]


def test_checking_a_config_imports_nothing_heavy(mine: Path) -> None:
    script = f"""
import sys
from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.schema import json_schema
from papermage_core.plugin.manager import Plugins
config = EntityClassificationTrainConfig(
    data_path="a", label_field="b", head="crf", reader="mine", plugins_path={str(mine)!r}, gradient_clip_val="1.0"
)
config.components()
config.to_yaml()
json_schema(Plugins([{str(mine)!r}]))
heavy = {{"torch", "pytorch_lightning", "lightning_fabric", "transformers"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports, for types alone and inside functions too."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


@pytest.mark.parametrize("room", ["config", "plugin"])
def test_no_module_imports_another_in_a_circle(room: str) -> None:
    paths = (ROOT / "papermage_core" / room).rglob("*.py")
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    modules = {name: path for path, name in names.items() if path.stem != "__init__"}
    graph = {name: imports_of(path) & set(modules) for name, path in modules.items()}

    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(modules)
