"""The site as it was built: ``PAPERMAGE_SITE`` names its folder; ``.ci/run`` and ``tox -e docs`` set it."""

from __future__ import annotations

import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.test_reference import SHOWN

SITE = Path(os.environ.get("PAPERMAGE_SITE", "site is not built"))
pytestmark = pytest.mark.skipif(not SITE.is_dir(), reason="set PAPERMAGE_SITE to the folder of the built site")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page has: places, links, and what is loaded to show it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.text = file.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADED and found.get("rel") not in ("canonical", "prev", "next", "edit"):
            self.loaded += [value for name, value in found.items() if name == LOADED[tag]]


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(SITE.rglob("*.html")) if file.name != "404.html"}


def test_every_link_leads_to_a_place_that_is_there(pages: dict[Path, Page]) -> None:
    broken = []
    for file, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                broken.append(f"{file.relative_to(SITE)}: {link}")
            elif url.fragment and target.suffix == ".html" and not url.fragment.startswith("__"):
                known = pages[SITE / target.relative_to(SITE.resolve())].ids
                if unquote(url.fragment) not in known:
                    broken.append(f"{file.relative_to(SITE)}: {link}")
    assert len(pages) > 40
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    loaded = {url for page in pages.values() for url in page.loaded if urlsplit(url).scheme or url.startswith("//")}
    styles = "".join(file.read_text(encoding="utf-8") for file in SITE.rglob("*.css"))
    assert loaded == set()
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\s]*", styles) == []


def test_every_public_name_has_one_place(pages: dict[Path, Page]) -> None:
    places = Counter(place for page in pages.values() for place in page.ids if place.startswith("papermage_core."))
    assert [name for name in SHOWN if places[name] != 1] == []


def test_formulas_are_drawn_and_docstrings_have_no_remains(pages: dict[Path, Page]) -> None:
    evaluation = (SITE / "reference" / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<div class="formula"><math[^>]*display="block"', evaluation)
    remains = r'class="arithmatex"|<p>[^<]*(?:&gt;){3}|<blockquote>\s*<blockquote>|:math:|\$\$'
    assert {
        str(file.relative_to(SITE)): found[0]
        for file, page in pages.items()
        if (found := re.search(remains, page.text))
    } == {}
