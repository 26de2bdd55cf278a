"""What pyproject.toml cannot say: on the package index, README's links lead to the site and to the repository."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def readme() -> str:
    """Return README.md with whole links: to pages of the site, to pictures, to files of the repository."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    urls = dict(re.findall(r'^(Documentation|Repository) = "(.+)"$', project, re.MULTILINE))

    def whole(link: re.Match[str]) -> str:
        if page := re.fullmatch(r"docs/(.*?)(?:index)?\.md(#.*)?", link[1]):
            place = re.sub(r"(?<=[^/])$", "/", page[1])
            return f"]({urls['Documentation']}{place}{page[2] or ''})"
        return f"]({urls['Repository']}/{'raw' if link[1].endswith('.png') else 'blob'}/main/{link[1]})"

    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", whole, (ROOT / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    setup(long_description=readme(), long_description_content_type="text/markdown")
