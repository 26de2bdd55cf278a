"""What is shipped, and what it is allowed to depend on."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # comes with pytest there
    import tomli as tomllib

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def pins(file: str) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(requirement.name, []).append(requirement)
    return found


def declared() -> list[Requirement]:
    """What pyproject.toml asks for, tests included; the installed metadata may be older."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(each) for each in [*project["dependencies"], *project["optional-dependencies"]["test"]]]


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    lowest = {
        name: str(found.specifier).removeprefix("==") for name, (found,) in pins("constraints-lowest.txt").items()
    }
    for requirement in declared():
        floor = [spec.version for spec in requirement.specifier if spec.operator == ">="]
        if floor and requirement.name != "setuptools":
            assert Version(lowest[requirement.name]) == Version(floor[0]), requirement.name


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_each_python_has_one_pin_within_range_for_every_dependency(python: str) -> None:
    constraints = pins("constraints.txt")
    for requirement in declared():
        if requirement.name == "setuptools":  # comes with the environment
            continue
        here = [
            pin
            for pin in constraints[requirement.name]
            if not pin.marker or pin.marker.evaluate({"python_version": python})
        ]
        assert len(here) == 1, (requirement.name, python)
        assert requirement.specifier.contains(str(here[0].specifier).removeprefix("==")), requirement.name


def test_the_wheel_holds_every_module_and_type_marker(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is built by setuptools 77 or newer")
    source = tmp_path / "source"
    source.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("needs a checkout")
    files = [Path(name) for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_bytes((ROOT / file).read_bytes())
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"  # as pip does
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = {
        file.relative_to("plugins") if file.parts[0] == "plugins" else file
        for file in files
        if file.parts[0] in ("papermage_core", "plugins") and file.suffix in (".py", ".typed", ".css", ".js")
    }
    assert {file.as_posix() for file in wanted} <= packed
    assert not any(name.startswith(("tests", "examples", "benchmarks")) for name in packed)
