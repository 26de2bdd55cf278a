"""The road: which room may know which, and how light its front door is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from papermage_core.cli._shell import _OURS
from tests.parsing import parsed

ROOT = Path(__file__).parents[1]
CORE = ROOT / "papermage_core"
ROAD = (
    "errors", "terminal", "files", "compiling", "document", "plugin", "config", "data", "evaluation", "model",
    "checkpoint", "training", "prediction", "serving", "testing", "cli",
)  # fmt: skip
"""A room imports only from rooms before it, and from itself."""
LIGHT = ("errors", "terminal", "files", "compiling", "document", "plugin", "config")
"""Rooms that import neither torch nor what imports it, not even inside a function."""
HEAVY = frozenset({"torch", "pytorch_lightning", "lightning_fabric", "transformers", "torchmetrics"})


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imports(path: Path, *, at_import_only: bool = False) -> Iterator[str]:
    """Yield the modules that a file imports, those for type checkers left out."""
    nodes: list[ast.AST] = [parsed(path)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes.extend(node.orelse)
        elif not (at_import_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))):
            nodes.extend(ast.iter_child_nodes(node))


def modules() -> list[Path]:
    acme = CORE / "plugin" / "template" / "acme"  # a plugin to be generated, not a part of the core
    return sorted(path for path in CORE.rglob("*.py") if path != CORE / "__init__.py" and acme not in path.parents)


def test_every_room_is_on_the_road() -> None:
    rooms = {room_of(path) for path in modules()}
    assert rooms == set(ROAD)


@pytest.mark.parametrize("room", ROAD)
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    before = ROAD[: ROAD.index(room) + 1]
    backward = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in modules()
        if room_of(path) == room
        for module in imports(path)
        if module.startswith("papermage_core.") and module.split(".")[1] in ROAD and module.split(".")[1] not in before
    ]
    assert backward == []


def test_the_core_never_imports_a_built_in_plugin() -> None:
    named = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in modules()
        for module in imports(path)
        if module.startswith("papermage_") and not module.startswith("papermage_core")
    ]
    assert named == []


def test_messages_of_all_built_in_packages_are_shown() -> None:
    """Those of others are from WARNING on."""
    packages = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    assert set(_OURS) == {"papermage_core", *packages}


def test_light_rooms_do_not_import_torch_at_import() -> None:
    heavy = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in modules()
        if room_of(path) in LIGHT
        for module in imports(path, at_import_only=True)
        if module.split(".")[0] in HEAVY
    ]
    assert heavy == []


def test_plugins_import_only_public_names_of_the_core() -> None:
    """Those are what the modules export that the page on versions lists."""
    page = (ROOT / "docs" / "plugins" / "versioning.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(papermage_core[\w.]*)` \|", page, re.MULTILINE)
    public = {f"{name}.{exported}" for name in listed for exported in import_module(name).__all__}
    private = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / "plugins").rglob("*.py")
        for module in imports(path)
        if module.split(".")[0] == "papermage_core" and module not in public
    ]
    assert "papermage_core.plugin" in listed
    assert private == []


@pytest.mark.parametrize(
    "code",
    [
        "import papermage_core",
        "from papermage_core import Document, Entity, Span, Box, Layer, Metadata, Image, Prediction",
        "from papermage_core import read_documents, to_rows, write_documents",
        "import papermage_core.plugin, papermage_core.config, papermage_core.evaluation",
        "from papermage_core.plugin.manager import Plugins; assert Plugins().components()",
        "from papermage_core.cli import train; train.main(['--help'])",
        "from papermage_core.cli import train; train.main(['--print-config', 'data_path=x', 'label_field=y'])",
        "from papermage_core.cli import serve; serve.main(['--help'])",
        "import papermage_core.serving.app, papermage_core.serving.server, papermage_core.serving.uploads",
    ],
)
def test_it_answers_without_torch(code: str) -> None:
    assert_not_imported(HEAVY, code)


@pytest.mark.parametrize(
    "code",
    [
        "import papermage_core; assert 'Document' in dir(papermage_core)",
        "from papermage_core.cli import plugins; plugins.main(['list'])",
        "from papermage_core.cli import train; train.main(['--help'])",
    ],
)
def test_it_answers_without_numpy(code: str) -> None:
    assert_not_imported({"numpy", *HEAVY}, code)


def test_the_names_of_the_front_door_are_those_of_document_and_data() -> None:
    import papermage_core
    from papermage_core import data, document

    for name in papermage_core.__all__:
        assert getattr(papermage_core, name) is getattr(data if name in data.__all__ else document, name)
    with pytest.raises(AttributeError, match="has no attribute 'Documnet'"):
        papermage_core.Documnet  # noqa: B018


def assert_not_imported(heavy: Iterable[str], code: str) -> None:
    program = f"""
import sys
try:
    {code}
except SystemExit as done:
    assert not done.code, done.code
heavy = {sorted(heavy)!r}
sys.exit(f"imported: {{[name for name in heavy if name in sys.modules]}}" if set(heavy) & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
