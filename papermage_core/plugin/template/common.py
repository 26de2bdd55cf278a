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
license = "MIT"
license-files = ["LICENSE"]
authors = [{ name = "$author" }]
requires-python = ">=3.10"
keywords = ["papermage", "scientific documents", "$kind"]
classifiers = [
    "Development Status :: 3 - Alpha",
    "Intended Audience :: Science/Research",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Topic :: Text Processing",
    "Typing :: Typed",
]
dependencies = ["papermage_core>=$core_version,<$core_next"]

[project.urls]
Homepage = "$homepage"
Changelog = "$homepage/blob/main/CHANGELOG.md"
Issues = "$homepage/issues"

[project.optional-dependencies]
test = ["pytest>=8.2", "hypothesis>=6.100"]
lint = ["mypy>=1.13", "ruff>=0.9"]

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

[tool.mypy]
strict = true
files = ["src"]

[tool.pytest.ini_options]
addopts = "--import-mode=importlib"
testpaths = ["tests"]
"""

_TOX = """\
[tox]
env_list = py310, py311, py312, py313, lowest, lint
isolated_build = true
skip_missing_interpreters = true

[testenv]
description = run the tests, the conformance suite among them
extras = test
pass_env = PIP_*
commands =
    python -m pytest {posargs}
    papermage-plugins list --check

[testenv:lowest]
description = the same with the lowest versions that it says it works with
base_python = python3.10
set_env = PIP_CONSTRAINT = {tox_root}{/}constraints-lowest.txt

[testenv:lint]
description = look at the code: rules, format, types
extras = test, lint
commands =
    ruff check
    ruff format --check
    mypy
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

## Publishing it

1. See that the URLs in `pyproject.toml` and the name in `LICENSE` are yours; write what is new in `CHANGELOG.md`.
2. At PyPI, name this repository, the workflow `release.yml` and the environment `pypi` as a
   [trusted publisher](https://docs.pypi.org/trusted-publishers/): no token is needed.
3. Publish a release at GitHub. The workflow tests, builds and uploads it.
"""

_CHANGELOG = """\
# Changelog

## 0.1.0 (unreleased)

- The $kind `$name`.
"""

_LICENSE = """\
MIT License

Copyright (c) $year $author

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

_CHECKOUT = """\
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          persist-credentials: false
      - uses: actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065 # v5.6.0
"""

_CI = f"""\
name: test
on:
  push:
  pull_request:
  workflow_call:
permissions:
  contents: read
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        include:
          - {{ python: "3.10", env: py310 }}
          - {{ python: "3.11", env: py311 }}
          - {{ python: "3.12", env: py312 }}
          - {{ python: "3.13", env: py313 }}
          - {{ python: "3.10", env: lowest }}
          - {{ python: "3.12", env: lint }}
    steps:
{_CHECKOUT}        with:
          python-version: $${{{{ matrix.python }}}}
      - run: pip install tox
      - run: tox -e $${{{{ matrix.env }}}}
"""

_RELEASE = f"""\
name: release
on:
  release:
    types: [published]
permissions:
  contents: read
jobs:
  test:
    uses: ./.github/workflows/test.yml
  build:
    needs: test
    runs-on: ubuntu-latest
    steps:
{_CHECKOUT}        with:
          python-version: "3.12"
      - run: pip install build
      - run: python -m build
      - uses: actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2
        with:
          name: dist
          path: dist/
  publish:
    needs: build
    runs-on: ubuntu-latest
    environment: pypi
    permissions:
      id-token: write # PyPI trusts this workflow: there is no token to keep
    steps:
      - uses: actions/download-artifact@d3f86a106a0bac45b974a628896c90dbdf5c8093 # v4.3.0
        with:
          name: dist
          path: dist/
      - uses: pypa/gh-action-pypi-publish@76f52bc884231f62b9a034ebfe128415bbaabdfc # v1.12.4
"""

_DEPENDABOT = """\
version: 2
updates:
  - package-ecosystem: github-actions
    directory: /
    schedule:
      interval: monthly
"""

_LOWEST = """\
# The lowest versions that this plugin says it works with, for `tox -e lowest`.
papermage_core==$core_exact
$lowest
pytest==8.2
hypothesis==6.100
"""

_IGNORE = """\
__pycache__/
*.egg-info/
.tox/
.hypothesis/
.mypy_cache/
.pytest_cache/
.ruff_cache/
build/
dist/
"""

FILES = {
    "pyproject.toml": _PYPROJECT,
    "tox.ini": _TOX,
    "README.md": _README,
    "CHANGELOG.md": _CHANGELOG,
    "LICENSE": _LICENSE,
    "constraints-lowest.txt": _LOWEST,
    ".github/workflows/test.yml": _CI,
    ".github/workflows/release.yml": _RELEASE,
    ".github/dependabot.yml": _DEPENDABOT,
    ".gitignore": _IGNORE,
    "src/$module/__init__.py": '"""The $kind ``$name`` for papermage_core."""\n',
    "src/$module/py.typed": "",
}
