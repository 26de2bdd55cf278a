"""The site's own address, and that of the code, which each page links to: those of ``[project.urls]``."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Return the configuration with both."""
    urls = dict(re.findall(r'^(Documentation|Repository) = "(.+)"$', PROJECT.read_text(encoding="utf-8"), re.MULTILINE))
    config.site_url = urls["Documentation"]
    config.extra["social"][0]["link"] = urls["Repository"]
    return config
