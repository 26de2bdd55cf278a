"""The page of documents in a real browser: it draws, filters, finds, and is used by keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from papermage_core import Box, Document, Entity, Image, Metadata, Span
from papermage_core.evaluation.view import ViewOptions, write_view
from tests.browser import Browser, open_browser

HOSTILE = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"><!--"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def paper(pages: int = 3, pictured: bool = False) -> Document:
    """A document with a word every tenth of each page's height, the third of which is a heading."""
    words = [f"word{page}-{row}" for page in range(pages) for row in range(8)]
    starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
    spans = [Span(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    boxes = [Box(0.2, 0.1 + 0.1 * (i % 8), 0.3, 0.04, i // 8) for i in range(len(words))]
    images = [Image.create_rgb_all_white(60, 90) for _ in range(pages)] if pictured else None
    document = Document(" ".join(words), images, Metadata(doc_id="paper", title="A title"))
    tokens = [
        Entity(spans=[span], boxes=[box], metadata=Metadata(fontname="Times", size=9))
        for span, box in zip(spans, boxes, strict=True)
    ]
    document.annotate_layer("tokens", tokens)
    page_spans = [Span(spans[8 * i].start, spans[8 * i + 7].end) for i in range(pages)]
    sizes = Metadata(width=600, height=900)
    document.annotate_layer("pages", [Entity(spans=[span], metadata=sizes) for span in page_spans])
    document.annotate_layer("heading", [Entity(spans=[spans[8 * i + 2]]) for i in range(pages)])
    found = [
        Entity(spans=[spans[8 * i + 2 + i % 4]], metadata=Metadata(label="heading", score=min(0.5 + i / 10, 1.0)))
        for i in range(pages)
    ]
    document.annotate_layer("predictions", found)
    return document


def written(path: Path, *documents: Document, **options: Any) -> Path:
    with (path / "view.html").open("wb") as file:
        write_view(documents, file, ViewOptions(**options))
    return path / "view.html"


def rectangles(browser: Browser, selector: str) -> list[list[float]]:
    return browser.run(
        f"[...document.querySelectorAll({selector!r})].map((each) => {{ const r = each.getBoundingClientRect();"
        "const p = each.closest('.sheet').getBoundingClientRect();"
        "return [(r.left - p.left) / p.width, (r.top - p.top) / p.height, r.width / p.width, r.height / p.height]; })"
    )


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll({selector!r})].map((each) => each.textContent)")


@pytest.mark.parametrize("pictured", [False, True])
def test_boxes_are_where_the_document_has_them(browser: Browser, tmp_path: Path, pictured: bool) -> None:
    browser.open(written(tmp_path, paper(pictured=pictured), compare=("predictions",)))
    browser.settle()
    heading, *_ = rectangles(browser, "rect.entity:not(.compared)")
    assert heading == pytest.approx([0.2, 0.3, 0.3, 0.04], abs=0.006)
    token = rectangles(browser, ".token")[3]
    assert token[0] == pytest.approx(0.2, abs=0.006)
    assert token[2] == pytest.approx(0.3, abs=0.006)
    assert 0.4 < token[1] + token[3] / 2 < 0.44
    width, height = browser.run(
        "(({ width, height }) => [width, height])(document.querySelector('.page').getBoundingClientRect())"
    )
    assert height / width == pytest.approx(1.5, abs=0.01)
    assert browser.run("document.querySelectorAll('.page img').length > 0") == pictured
    assert browser.errors == []


def test_nothing_is_asked_of_a_network_and_hostile_text_is_text(browser: Browser, tmp_path: Path) -> None:
    document = Document(f"{HOSTILE} x", [Image.from_base64(HOSTILE)], Metadata(doc_id=HOSTILE, note=HOSTILE))
    tokens = [Entity(spans=[Span(0, 9)], boxes=[Box(0.1, 0.1, 0.5, 0.1, 0)], metadata=Metadata(fontname=HOSTILE))]
    document.annotate_layer("tokens", tokens)
    document.annotate_layer(HOSTILE, [Entity(spans=[Span(0, 9)], metadata=Metadata(label=HOSTILE, more=HOSTILE))])
    document.annotate_layer("__proto__2", [Entity(spans=[Span(2, 5)], metadata=Metadata(label="__proto__"))])
    path = written(tmp_path, document, title=HOSTILE)
    browser.open(path)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.press("n", "t", "n")
    assert browser.run("document.title") == HOSTILE
    browser.run("document.querySelectorAll('.name').forEach((each) => each.remove())")
    assert browser.run("document.querySelector('.running').textContent") == f"{HOSTILE} x"
    assert set(texts(browser, "h2")) == {HOSTILE}
    assert browser.run("document.querySelectorAll('script:not([type])').length") == 1
    assert [url for url in browser.requests if not url.startswith(("about:", path.as_uri()))] == []
    assert browser.errors == []


def test_filters_filter(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, paper(), compare=("predictions",)))
    browser.press("t")
    marked = ".running .entity"
    assert texts(browser, marked) == ["word0-2", "word1-2", "word1-3", "word2-2", "word2-4"]
    browser.run("document.getElementById('differing').click()")
    assert texts(browser, marked) == ["word1-2", "word1-3", "word2-2", "word2-4"]
    browser.run("document.querySelector('#legend input').click()")  # the gold
    assert texts(browser, marked) == ["word1-3", "word2-4"]
    browser.run("(least) => {}; least = document.getElementById('least'); least.value = 0.65;"
                "least.dispatchEvent(new Event('input'))")  # fmt: skip
    assert texts(browser, marked) == ["word2-4"]
    assert browser.errors == []


def test_keys_go_from_entity_to_entity_and_from_page_to_page(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, paper(), layers=("heading",)))
    browser.press("n", "n")
    assert "word1-2" in texts(browser, "#chosen dd")
    assert browser.run("document.querySelectorAll('rect.current').length") == 1
    assert browser.run("location.hash") == "#doc=paper&sheet=1&entity=0"
    browser.press("p")
    assert "word0-2" in texts(browser, "#chosen dd")
    top = browser.run("document.getElementById('documents').scrollTop")
    browser.press("j")
    assert browser.run("document.getElementById('documents').scrollTop") > top
    theme = "getComputedStyle(document.body).backgroundColor"
    before = browser.run(theme)
    browser.press("d")
    assert browser.run(theme) != before
    browser.press("l")
    assert browser.run("document.getElementById('side').hidden")
    assert browser.errors == []


def test_a_place_is_found_by_its_words_and_by_its_address(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path, paper(40))
    browser.open(path)
    browser.press("/", *"WORD33-6")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    assert texts(browser, "#found") == ["1 found"]
    assert rectangles(browser, "rect.hit.current")[0][:2] == pytest.approx([0.2, 0.7], abs=0.006)
    browser.open(written(tmp_path, paper(40), layers=("heading",)), "#doc=paper&sheet=33&entity=0")
    browser.settle()
    assert "word33-2" in texts(browser, "#chosen dd")
    assert len(texts(browser, "svg")) < 8  # pages are drawn when they are seen


@pytest.mark.parametrize("words", [r"a.b*(c)[d]{e}|^$\/-+?", "two words", "\U0001f9ec", "é", "-", "__proto__"])
def test_what_is_looked_for_is_no_pattern(browser: Browser, tmp_path: Path, words: str) -> None:
    text = f"\U0001f9ec before {words} after\n".replace("two words", "Two\nWORDS")
    browser.open(written(tmp_path, Document(text.replace("\U0001f9ec before", "before"))))
    browser.run(f"(({{ value }}) => {{}})(Object.assign(document.getElementById('query'), {{ value: {words!r} }}))")
    browser.run("document.getElementById('query').dispatchEvent(new Event('input'))")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    assert [" ".join(found.split()).lower() for found in texts(browser, "mark.current")] == [words.lower()]
    assert browser.errors == []


def test_a_click_says_what_stands_there(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, paper(), layers=("heading",)))
    where = (
        "(({ left, top, width, height }) => [left + width * 0.35, top + height * 0.12])"
        "(document.querySelector('.page').getBoundingClientRect())"
    )
    browser.click(*browser.run(where))
    assert texts(browser, "#chosen dd") == ["word0-0", "Times", "9", "0.200 0.100 0.500 0.140"]


def test_entities_of_boxes_alone_are_marked_in_the_text_and_of_text_alone_on_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    document = paper(1)
    document.annotate_layer("boxed", [Entity(boxes=[Box(0.1, 0.08, 0.8, 0.18, 0)])])
    document.annotate_layer("worded", [Entity(spans=[Span(16, 31)])])
    path = written(tmp_path, document, layers=("boxed", "worded"))
    browser.open(path)
    assert rectangles(browser, "rect.entity") == [
        pytest.approx([0.1, 0.08, 0.8, 0.18], abs=0.006),
        pytest.approx([0.2, 0.3, 0.3, 0.04], abs=0.006),
        pytest.approx([0.2, 0.4, 0.3, 0.04], abs=0.006),
    ]
    browser.press("t")
    assert texts(browser, ".running .entity") == ["word0-0", "word0-1", "word0-2 word0-3"]


@pytest.mark.parametrize("width", [390, 1300])
def test_it_fits_a_phone_and_has_a_dark_mode(browser: Browser, tmp_path: Path, width: int) -> None:
    path = written(tmp_path, paper())
    pictures = []
    for dark in (False, True):
        browser.open(path, width=width, height=800, dark=dark)
        browser.settle()
        assert browser.run("document.documentElement.scrollWidth") <= width
        left, right = browser.run(
            "(({ left, right }) => [left, right])(document.querySelector('.page').getBoundingClientRect())"
        )
        assert 0 <= left < right <= width
        pictures.append(browser.screenshot())
    assert pictures[0] != pictures[1]
    assert browser.errors == []
