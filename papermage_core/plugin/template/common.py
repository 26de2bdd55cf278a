"""The files that distributions of all kinds have."""

from __future__ import annotations

__all__ = ["FILES"]

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$distribution"
version = "0.1.0"
description = "The $kind $name for papermage_core."
readme = "README.md"
requires-python = ">=3.10"
dependencies = ["papermage_core>=$core_version"]

[project.optional-dependencies]
test = ["pytest>=8.2", "hypothesis>=6.100"]

# The name on the left is what users type: $key=$name
[project.entry-points."$group"]
$name = "$module.plugin"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
$module = ["py.typed"]

[tool.ruff]
line-length = 120

[tool.ruff.lint]
select = ["E", "F", "W", "I", "UP", "B"]
ignore = ["E501"]

[tool.pytest.ini_options]
addopts = "--import-mode=importlib"
testpaths = ["tests"]
"""

_TOX = """\
[tox]
env_list = py310, py311, py312, py313, lint
isolated_build = true
skip_missing_interpreters = true

[testenv]
description = run the tests, the conformance suite among them
extras = test
pass_env = PIP_*
commands =
    python -m pytest {posargs}
    papermage-plugins list --check

[testenv:lint]
description = look at the code
skip_install = true
deps = ruff
pass_env = PIP_*
commands = ruff check src tests
"""

_README = """\
# $distribution

The $kind `$name` for [papermage_core](https://pypi.org/project/papermage_core/).

    pip install $distribution
    papermage-plugins info $name
    papermage-train data_path=train.jsonl label_field=Disease $key=$name

## Working on it

    pip install -e '.[test]'
    pytest

The component is described in `src/$module/plugin.py`; all that it has to keep to is written in
`papermage_core/plugin/spec.py`, and checked by the suite that `tests/` subclasses. `tox` runs everything.
"""

_CI = """\
name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python: ["3.10", "3.11", "3.12", "3.13"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: $${{ matrix.python }}
      - run: pip install tox
      - run: tox -e py
"""

_IGNORE = """\
__pycache__/
*.egg-info/
.tox/
.hypothesis/
.pytest_cache/
.ruff_cache/
build/
dist/
"""

FILES = {
    "pyproject.toml": _PYPROJECT,
    "tox.ini": _TOX,
    "README.md": _README,
    ".github/workflows/test.yml": _CI,
    ".gitignore": _IGNORE,
    "src/$module/__init__.py": '"""The $kind ``$name`` for papermage_core."""\n',
    "src/$module/py.typed": "",
}
