"""What ``papermage-plugins new`` writes works without an edit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from papermage_core.cli.plugins import main
from papermage_core.errors import ConfigError
from papermage_core.plugin import template
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import API_VERSION
from papermage_core.plugin.template import generate
from papermage_core.testing.suite import Suite

ROOT = Path(__file__).parents[2]
NAMES = {
    "context_encoder": "my-encoder",
    "label_scheme": "x",
    "model_head": "a_rather_long_name_for_a_head",
    "document_reader": "my_reader",
    "document_processor": "my-numbers",
    "document_writer": "my-writer",
    "optimizer": "my-optimizer",
    "metric": "acme-2",
    "extension": "ext2",
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> dict[str, Path]:
    """A generated distribution of each kind, laid out as an editable installation would be."""
    into = tmp_path_factory.mktemp("generated")
    folders = {kind: generate(name, kind, into) for kind, name in NAMES.items()}
    for kind, folder in folders.items():
        project = tomllib.loads((folder / "pyproject.toml").read_text())
        info = folder / "src" / f"{folder.name.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0.1.0\n")
        entries = project["project"]["entry-points"][KINDS[kind].group]
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{KINDS[kind].group}]", *lines]))
    return folders


def environment(folders: dict[str, Path]) -> dict[str, str]:
    paths = [str(folder / "src") for folder in folders.values()]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


FEW = """
CHECKS = {
    "test_the_config_class_keeps_to_the_specification", "test_the_hooks_are_those_of_the_specification",
    "test_nothing_is_printed",
}

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.cls is None or item.name in CHECKS]
"""


@pytest.mark.slow
def test_the_generated_tests_pass_for_every_kind(generated, tmp_path, monkeypatch, capsys):
    """Their own, and some of the suites: those of the example plugin, which is the same code, are run whole in CI."""
    (tmp_path / "few.py").write_text(FEW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environment(generated)["PYTHONPATH"])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for folder in (tmp_path, *(folder / "src" for folder in generated.values())):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(Suite, "plugins", Plugins())  # which knows what is on the path now
    known = set(sys.modules)
    tests = [str(folder / "tests") for folder in generated.values()]
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-p", "few", *tests])
    for name in set(sys.modules) - known:
        if name.startswith("papermage_") and str(generated["model_head"].parent) in str(sys.modules[name].__file__):
            del sys.modules[name]
    said = capsys.readouterr().out
    assert code == 0, said[-3000:]
    assert " passed" in said


def test_the_generated_components_load(generated, tmp_path):
    command = [sys.executable, "-m", "papermage_core.cli.plugins", "list", "--check"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(generated), capture_output=True, text=True, check=False
    )
    mine = [line for line in done.stdout.splitlines() if "papermage-" in line]
    assert sorted(line.split()[1] for line in mine) == sorted(NAMES.values()), done.stderr
    assert all(line.endswith(" ok") for line in mine)


def test_the_generated_code_passes_ruff(generated):
    ruff = pytest.importorskip("ruff", reason="ruff is installed in the lint environment only")
    for folder in generated.values():
        command = [sys.executable, "-m", ruff.__name__, "check", "--no-cache", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        command = [sys.executable, "-m", ruff.__name__, "format", "--check", "--no-cache", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_generated_distribution_is_complete(generated):
    files = {str(path.relative_to(generated["model_head"])) for path in generated["model_head"].rglob("*")}
    stem = "papermage_a_rather_long_name_for_a_head"
    wanted = {"pyproject.toml", "tox.ini", "README.md", ".github/workflows/test.yml", f"src/{stem}/plugin.py"}
    wanted |= {"LICENSE", "CHANGELOG.md", "constraints-lowest.txt", ".github/workflows/release.yml"}
    assert wanted <= files
    for path in generated["model_head"].rglob("*"):
        if path.suffix in (".py", ".toml", ".ini", ".md"):
            assert "$name" not in path.read_text(), path


def test_the_project_says_who_made_it_under_what_licence_and_what_it_needs(generated):
    folder = generated["context_encoder"]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    assert project["authors"][0]["name"] in (folder / "LICENSE").read_text()
    assert not any("License ::" in classifier for classifier in project["classifiers"])  # PEP 639 has the field instead
    assert {"Programming Language :: Python :: 3.10", "Typing :: Typed"} <= set(project["classifiers"])
    assert set(project["urls"]) == {"Homepage", "Changelog", "Issues"}
    (core,) = (Requirement(line) for line in project["dependencies"])
    assert {specifier.operator for specifier in core.specifier} == {">=", "<"}
    assert version("papermage_core") in core.specifier
    lowest = (folder / "constraints-lowest.txt").read_text().splitlines()[1:]
    pinned = {requirement.name: requirement.specifier for requirement in map(Requirement, lowest)}
    assert version("papermage_core") in pinned["papermage_core"]
    ours = [Requirement(line) for line in requires("papermage_core") or () if "extra" not in line]
    for requirement in ours:
        (pin,) = pinned[requirement.name]
        assert pin.version in requirement.specifier, requirement


def test_workflows_pin_their_actions_and_may_only_read(generated):
    for path in (generated["model_head"] / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        used = [step["uses"] for job in workflow["jobs"].values() for step in job.get("steps", []) if "uses" in step]
        assert used
        assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)
    publish = workflow_of(generated["model_head"], "release")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "pypi"
    test = workflow_of(generated["model_head"], "test")["jobs"]["test"]
    environments = {row["env"] for row in test["strategy"]["matrix"]["include"]}
    assert {"lowest", "lint", "py310", "py313"} <= environments
    for environment in environments:
        assert environment in (generated["model_head"] / "tox.ini").read_text()


def workflow_of(folder: Path, name: str):
    return yaml.safe_load((folder / ".github" / "workflows" / f"{name}.yml").read_text())


def test_the_types_of_the_code_that_is_generated_are_checked_with_those_of_the_core():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"]
    assert "papermage_acme" in settings["packages"]
    assert {path.parent for path in (ROOT / "papermage_core/plugin/template").rglob("plugin.py")} == {
        ROOT / path / "papermage_acme" / kind.word for path in settings["mypy_path"][1:] for kind in KINDS.values()
    }


def test_what_is_generated_says_the_plugin_api_of_today(generated):
    for folder in generated.values():
        (source,) = folder.glob("src/*/plugin.py")
        assert f"papermage_api_version = {API_VERSION}\n" in source.read_text()


def test_a_readme_reads_by_its_reader_what_is_predicted_and_trains_where_the_model_is_looked_for(tmp_path):
    main(["new", "mine", "--kind", "reader", "--kind", "head", "--kind", "writer", "--into", str(tmp_path), "-q"])
    lines = (tmp_path / "papermage-mine" / "README.md").read_text().splitlines()
    assert [line.strip() for line in lines if line.startswith(("    papermage-train", "    papermage-predict"))] == [
        "papermage-train data_path=train.jsonl label_field=Disease head=mine default_root_dir=run",
        "papermage-predict model_name_or_path=run data_path=new.txt reader=mine output_path=found writer=mine",
    ]


def test_the_names_of_others_are_not_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(template, "_git", lambda key: "Acme $Inc" if key == "user.name" else "acme")
    folder = generate("mine", "model_head", tmp_path)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["authors"] == [{"name": "Acme $Inc"}]
    assert project["urls"]["Homepage"] == "https://github.com/acme/papermage-mine"
    assert "papermage-train data_path=train.jsonl label_field=Disease head=mine" in (folder / "README.md").read_text()
    assert not re.search("acme", (folder / "src/papermage_mine/head.py").read_text(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("class", "a word of Python"),
        ("print", "a word of Python"),
        ("json", "a module of Python"),
        ("torch", "a library that papermage_core uses"),
        ("pytorch-lightning", "a library that papermage_core uses"),
        ("none", "a word of Python"),
        ("auto", "a word that configs have"),
        ("label_scheme", "a word that configs have"),
        ("core", "a word that configs have"),
        ("compact", "the name of the installed package papermage_compact"),
    ],
)
def test_a_name_that_means_something_else_is_refused(tmp_path, name, meaning):
    with pytest.raises(ConfigError, match=f"'{name}' is {meaning}"):
        generate(name, "model_head", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "My-Head", "1st", "a b", "../up", "a--b", "-a", "héad"])
def test_a_name_that_is_no_good_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="is no name for a component"):
        generate(name, "model_head", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_taken_by_another_distribution_of_the_same_kind_only(install, tmp_path, monkeypatch):
    install("papermage-mine", {"papermage.model_head": {"mine": "mine"}}, mine="")
    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", "papermage_core")
    with pytest.raises(ConfigError, match="head=crf is given by distribution 'papermage_core'"):
        generate("crf", "model_head", tmp_path)
    assert [generate(name, "model_head", tmp_path).name for name in ("bio", "mine")] == [
        "papermage-bio",
        "papermage-mine",
    ]


def test_nothing_is_written_over(tmp_path, capsys):
    assert main(["new", "acme", "--kind", "head", "--into", str(tmp_path)]) == 0
    assert "tox" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["new", "acme", "--kind", "scheme", "--into", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_example_plugin_is_what_is_generated_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the template, RELEASING.md says how to write it anew."""
    monkeypatch.setattr(template, "_git", lambda key: "")
    kinds = [word for kind in KINDS.values() for word in ("--kind", kind.word)]
    assert main(["new", "example-plugin", *kinds, "--into", str(tmp_path)]) == 0
    example = ROOT / "examples" / "papermage-example-plugin"

    def contents(folder: Path) -> dict[str, str]:
        left = (
            "build/",
            "src/papermage_example_plugin.egg-info/",
            ".tox/",
            ".hypothesis/",
            ".mypy_cache/",
            ".ruff_cache/",
        )
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        return {
            name: re.sub(r"(?<=Copyright \(c\) )\d+", "YEAR", file.read_text(encoding="utf-8"))
            for name, file in files.items()
            if not name.startswith(left) and "__pycache__" not in name
        }

    assert contents(example) == contents(tmp_path / "papermage-example-plugin")


def test_of_several_kinds_each_has_a_folder_and_an_entry_point(tmp_path: Path) -> None:
    folder = generate("both", ["model_head", "label_scheme"], tmp_path)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {
        "papermage.label_scheme": {"both": "papermage_both.scheme.plugin"},
        "papermage.model_head": {"both": "papermage_both.head.plugin"},
    }
    assert {"label scheme", "model head"} < set(project["keywords"])
    assert "label scheme and model head `both`" in (folder / "README.md").read_text()
    assert "label_scheme=both head=both" in (folder / "README.md").read_text()
    sources = {path.parent.name for path in (folder / "src").rglob("plugin.py")}
    assert sources == {"head", "scheme"} == {path.stem.removeprefix("test_") for path in (folder / "tests").iterdir()}
    with pytest.raises(ConfigError, match="head=crf is given by"):
        generate("crf", ["document_reader", "model_head"], tmp_path)
