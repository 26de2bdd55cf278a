"""The report and its error browser in a real browser: filters, keys, addresses, pages, both modes, any width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from papermage_core.evaluation import ErrorRecord, RunSummary, errors, score, write_error_page, write_report
from papermage_core.plugin.spec import UnitSpan
from tests.browser import Browser, open_browser
from tests.evaluation.test_error_browser import mistakes, paper, parsed, text_of
from tests.evaluation.test_report import full_run

HOSTILE = (
    "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"><!-- \u202egnirts \0"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def some_records() -> list[ErrorRecord]:
    """Ten documents where ``gout`` was missed, and one each of the other kinds."""
    gold, predicted, texts = [], [], []
    for i in range(10):
        texts.append(text_of(f"they had gout or GOUT in {1990 + i} .", f"doc {i}"))
        gold.append([UnitSpan.of("Disease", 2, 3)])
        predicted.append([])
    texts.append(text_of("acute lung cancer of mice , aspirin", "doc & last"))
    gold.append([UnitSpan.of("Disease", 0, 3), UnitSpan.of("Animal", 4, 5)])
    predicted.append(
        [
            UnitSpan.of("Disease", 1, 3, score=0.9),
            UnitSpan.of("Chemical", 4, 5, score=0.4),
            UnitSpan.of("Chemical", 6, 7, score=0.8),
        ]
    )
    return errors(gold, predicted, texts)


def opened(browser: Browser, path: Path, place: str = "", **options: Any) -> Browser:
    browser.open(path, place, **options)
    browser.run(
        "new Promise((done) => {"
        "const wait = () => (document.querySelector('.row') ? done() : setTimeout(wait, 5)); wait(); })"
    )
    browser.settle()
    return browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    write_error_page(tmp_path / "errors.html", some_records(), title="Mistakes")
    yield opened(browser, tmp_path / "errors.html")
    assert browser.errors == []


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.run(f"[...document.querySelectorAll({selector!r})].map((each) => each.textContent)")
    return found


def fill(browser: Browser, name: str, value: str) -> None:
    browser.run(f"void (document.getElementById({name!r}).value = {value!r})")
    browser.run(f"document.getElementById({name!r}).dispatchEvent(new Event('input'))")


def shown(browser: Browser) -> str:
    return texts(browser, "#shown")[0]


# The error browser -------------------------------------------------------------------------------------------------


def test_a_text_found_wrong_in_many_places_is_one_group(page: Browser) -> None:
    assert shown(page) == "13 mistakes, 4 texts"
    assert texts(page, ".row .what") == ["acute lung cancer", "aspirin", "mice", "gout"]
    assert texts(page, ".row .times") == ["0.90", "0.80", "0.40", "× 10 ▸"]
    page.run("document.getElementById('grouped').click()")
    assert len(texts(page, ".row")) == 13


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("kind", "missed", "10 of 13 mistakes, 1 text"),
        ("label", "Chemical", "2 of 13 mistakes, 2 texts"),
        ("document", "doc 3", "1 of 13 mistakes, 1 text"),
        ("document", "LAST", "3 of 13 mistakes, 3 texts"),
        ("least", "0.5", "2 of 13 mistakes, 2 texts"),
        ("most", "0.5", "1 of 13 mistakes, 1 text"),
        ("text", "LUNG  cancer of", "3 of 13 mistakes, 3 texts"),
        ("text", "in 1994", "1 of 13 mistakes, 1 text"),
        ("text", "no such text", "0 of 13 mistakes, 0 texts"),
    ],
)
def test_filters_filter(page: Browser, name: str, value: str, expected: str) -> None:
    fill(page, name, value)
    assert shown(page) == expected
    page.run("document.querySelector('#filters [type=reset]').click()")
    page.settle()
    assert shown(page) == "13 mistakes, 4 texts"


def test_the_list_is_sorted_as_is_asked(page: Browser) -> None:
    for order, first in (("least", "mice"), ("place", "gout"), ("often", "gout"), ("surest", "acute lung cancer")):
        fill(page, "order", order)
        assert texts(page, ".row .what")[0] == first


def test_keys_go_through_the_list_and_open_groups(page: Browser) -> None:
    page.run("document.getElementById('list').focus()")
    page.press("ArrowDown", "ArrowDown", "ArrowDown")
    assert texts(page, "#mistake-title") == ["gout"]
    page.press("ArrowRight", "ArrowDown", "ArrowDown")
    assert len(texts(page, ".row.member")) == 10
    assert "doc 1" in texts(page, "#mistake dd")
    assert texts(page, "[aria-selected=true] .what") == ["doc 1"]
    assert page.run("document.getElementById('list').getAttribute('aria-activedescendant')") == "row-5"
    assert page.run("location.hash") == "#doc=doc+1&unit=2"
    page.press("ArrowLeft")
    assert texts(page, ".row.member") == []
    page.press("Home", "/", *"1994")
    assert page.run("document.activeElement.id") == "text"
    assert shown(page) == "1 of 13 mistakes, 1 text"
    page.press("Escape")
    assert page.run("document.activeElement.id") == "list"
    fill(page, "text", "")
    page.press("j")
    assert texts(page, "#mistake-title") == ["aspirin"]
    page.press("k")
    assert texts(page, "#mistake-title") == ["acute lung cancer"]


def test_what_was_predicted_over_a_missed_entity_is_told(browser: Browser, tmp_path: Path) -> None:
    gold = [UnitSpan.of("reference", 0, 2), UnitSpan.of("reference", 2, 4), UnitSpan.of("year", 5, 6)]
    found = errors([gold], [[UnitSpan.of("reference", 0, 4)]], [text_of("one two three four and five")])
    write_error_page(tmp_path / "errors.html", found, title="t")
    opened(browser, tmp_path / "errors.html", "#doc=d&unit=2")
    assert texts(browser, ".side h4") == ["gold: reference", "predicted: reference, at another place that overlaps"]
    assert "".join(texts(browser, ".side.predicted .over")) == "one two three four"
    browser.press("End")
    browser.run("void (location.hash = '#doc=d&unit=5')")
    browser.settle()
    assert texts(browser, ".side h4") == ["gold: year", "predicted: nothing here"]


def test_gold_and_prediction_stand_side_by_side_in_their_text(page: Browser) -> None:
    assert texts(page, ".side h4") == ["gold: Disease", "predicted: Disease"]
    assert texts(page, ".side.gold .own") == ["acute lung cancer"]
    assert texts(page, ".side.predicted .own") == ["lung cancer"]
    assert texts(page, ".side.predicted .near") == ["mice", "aspirin"]  # what else was predicted there
    page.run("document.querySelectorAll('.name').forEach((each) => each.remove())")
    assert texts(page, ".side .running") == ["acute lung cancer of mice , aspirin"] * 2


@pytest.mark.parametrize("place", ["#doc=doc+7&unit=2", "#doc=doc%207&unit=2", "#doc=doc+7"])
def test_an_address_leads_to_one_mistake(browser: Browser, tmp_path: Path, place: str) -> None:
    write_error_page(tmp_path / "errors.html", some_records(), title="Mistakes")
    opened(browser, tmp_path / "errors.html", place)
    assert "doc 7" in texts(browser, "#mistake dd")
    browser.run("void (location.hash = '#doc=doc+%26+last&unit=4')")
    browser.settle()
    assert texts(browser, "#mistake-title") == ["mice"]
    browser.run("void (location.hash = '#doc=none&unit=4')")
    browser.settle()
    assert texts(browser, "#mistake-title") == ["mice"]
    fill(browser, "kind", "spurious")
    browser.run("void (location.hash = '#doc=doc+3&unit=2')")  # what the filters leave out
    browser.settle()
    assert "doc 3" in texts(browser, "#mistake dd")
    assert shown(browser) == "13 mistakes, 4 texts"
    assert browser.errors == []


def test_two_mistakes_of_one_place_have_their_own_addresses(browser: Browser, tmp_path: Path) -> None:
    found = errors([[UnitSpan.of("a", 0, 1), UnitSpan.of("b", 0, 1)]], [[]], [text_of("x y", "d")])
    write_error_page(tmp_path / "errors.html", found, title="t")
    opened(browser, tmp_path / "errors.html", "#doc=d&unit=0&label=b")
    assert texts(browser, ".side.gold h4") == ["gold: b"]
    assert browser.run("location.hash") == "#doc=d&unit=0&label=b"


def test_boxes_are_where_the_document_has_them(browser: Browser, tmp_path: Path) -> None:
    document = parsed(paper())
    found = mistakes(document, UnitSpan.of("heading", 2, 3), UnitSpan.of("heading", 9, 11, score=0.8))
    drawn = (
        "new Promise((done) => {"
        "const wait = () => (document.querySelector('.page svg') ? done() : setTimeout(wait, 5)); wait(); })"
    )
    write_error_page(tmp_path / "errors.html", found, title="t", documents=lambda: [document])
    opened(browser, tmp_path / "errors.html", "#doc=paper&unit=10")
    browser.run(drawn)

    def rectangles(selector: str) -> list[list[float]]:
        return browser.run(
            f"[...document.querySelectorAll({selector!r})].map((each) => {{ const r = each.getBoundingClientRect();"
            "const p = each.closest('.sheet').getBoundingClientRect();"
            "return [(r.left - p.left) / p.width, (r.top - p.top) / p.height,"
            "r.width / p.width, r.height / p.height]; })"
        )

    assert rectangles("rect.gold") == [pytest.approx([0.2, 0.3, 0.3, 0.04], abs=0.006)]
    rows = rectangles("rect.predicted")  # a little larger, so that both are seen
    assert rows == [
        pytest.approx([0.2, 0.2, 0.3, 0.04], abs=0.012),
        pytest.approx([0.2, 0.3, 0.3, 0.04], abs=0.012),
    ]
    assert browser.run("document.querySelectorAll('rect.current').length") == 3
    assert rectangles(".token")[3][:1] == pytest.approx([0.2], abs=0.006)
    fills = "[...document.querySelectorAll('rect.gold, rect.predicted')].map((each) => getComputedStyle(each).stroke)"
    assert len(set(browser.run(fills))) == 2
    shown_outlines = "getComputedStyle(document.querySelector('.outline')).display"
    assert browser.run(shown_outlines) == "none"
    browser.press("b")
    assert browser.run(shown_outlines) != "none"
    browser.run("document.querySelector('.page').dispatchEvent(new Event('click'))")
    assert browser.errors == []


def test_many_mistakes_load_and_filter(browser: Browser, tmp_path: Path) -> None:
    base = some_records()
    found = [attrs.evolve(base[i % 13], document=f"d{i % 700}", score=i / 20000) for i in range(20_000)]
    write_error_page(tmp_path / "errors.html", found, title="many")
    assert (tmp_path / "errors.html").stat().st_size < 10_000_000
    opened(browser, tmp_path / "errors.html")
    assert shown(browser) == "20,000 mistakes, 4 texts"
    fill(browser, "text", "aspirin")
    fill(browser, "document", "d13")
    count = sum(
        "aspirin" in record.before + record.text + record.after and record.document == "d13" for record in found
    )
    assert shown(browser).startswith(f"{count} of 20,000")
    browser.run("document.getElementById('grouped').click()")
    assert len(texts(browser, ".row")) < 60  # what is not seen is not in the page
    assert browser.errors == []


# The report --------------------------------------------------------------------------------------------------------


def report(path: Path) -> Path:
    write_report(path / "report.html", full_run())
    return path / "report.html"


def test_nothing_is_asked_of_a_network_and_hostile_text_is_text(browser: Browser, tmp_path: Path) -> None:
    text = text_of(f"{HOSTILE} x", HOSTILE)
    found = errors([[UnitSpan.of(HOSTILE, 0, 1)]], [[UnitSpan.of("__proto__", 1, 2)]], [text])
    found = [attrs.evolve(record, note=HOSTILE) for record in found]
    scores = score([[UnitSpan.of(HOSTILE, 0, 1)]], [[UnitSpan.of("__proto__", 1, 2)]])
    run = RunSummary(
        title=HOSTILE,
        scores={HOSTILE: scores},
        errors=found,
        errors_split=HOSTILE,
        config={HOSTILE: HOSTILE},
        notes=HOSTILE,
        components={HOSTILE: HOSTILE},
        issues={HOSTILE: 1},
        files={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        command=HOSTILE,
    )
    write_report(tmp_path / "report.html", run)
    opened(browser, tmp_path / "report.html")
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.press("j", "k", "b", "d")
    assert browser.run("document.title") == HOSTILE.replace("\0", "\ufffd")
    assert browser.run("document.images.length") == 0
    assert browser.run("document.querySelectorAll('script:not([type])').length") == 1
    assert "\u202e" not in "".join(texts(browser, "#browser"))  # it would turn the text after it round
    assert [
        url for url in browser.requests if not url.startswith(("about:", (tmp_path / "report.html").as_uri()))
    ] == []
    assert browser.errors == []


@pytest.mark.parametrize("run", [RunSummary(title="empty"), RunSummary(title="t", scores={"val": score([[]], [[]])})])
def test_pages_without_mistakes_have_no_errors(browser: Browser, tmp_path: Path, run: RunSummary) -> None:
    write_report(tmp_path / "report.html", run)
    browser.open(tmp_path / "report.html")
    browser.settle()
    assert texts(browser, "#list") == []
    assert browser.errors == []


def test_a_number_of_the_matrix_leads_to_its_mistakes(browser: Browser, tmp_path: Path) -> None:
    found = some_records()
    gold = [[r.gold] if r.gold else [] for r in found]
    predicted = [[r.predicted] if r.predicted else [] for r in found]
    write_report(tmp_path / "report.html", RunSummary(title="t", scores={"val": score(gold, predicted)}, errors=found))
    opened(browser, tmp_path / "report.html")
    browser.run("document.querySelector('.matrix a[href=\"#gold=Animal&predicted=Chemical\"]').click()")
    browser.settle()
    assert shown(browser) == "1 of 13 mistakes, 1 text"
    assert texts(browser, "#chip") == ["gold Animal → predicted Chemical ✕"]
    browser.run("document.getElementById('chip').click()")
    assert shown(browser) == "13 mistakes, 4 texts"
    browser.run("document.querySelector('.card a[href=\"#kind=missed\"]').click()")
    browser.settle()
    assert shown(browser) == "10 of 13 mistakes, 1 text"
    assert browser.errors == []


CONTRASTS = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [390, 1300])
def test_it_fits_a_phone_has_a_dark_mode_and_can_be_read_in_both(browser: Browser, tmp_path: Path, width: int) -> None:
    path, pictures = report(tmp_path), []
    for dark in (False, True):
        opened(browser, path, width=width, height=800, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") <= width
        contrasts = browser.run(CONTRASTS)
        assert len(contrasts) > 50
        assert [each for each in contrasts if each[0] < 4.5] == []  # WCAG 2.2, 1.4.3
        pictures.append(browser.screenshot())
    assert pictures[0] != pictures[1]
    background = "getComputedStyle(document.body).backgroundColor"
    before = browser.run(background)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(background) != before
    assert browser.errors == []


def test_whoever_does_not_see_the_page_can_use_it(browser: Browser, tmp_path: Path) -> None:
    opened(browser, report(tmp_path))
    unnamed = (
        "[...document.querySelectorAll('input, select, button, svg, [role=tree], section')].filter((each) => "
        "!(each.labels && each.labels.length) && !each.getAttribute('aria-label') && !each.textContent.trim()"
        " && !each.closest('[hidden]')).map((each) => each.outerHTML.slice(0, 80))"
    )
    assert browser.run(unnamed) == []
    levels = [
        int(name[1]) for name in browser.run("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => e.tagName)")
    ]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert browser.run("document.querySelectorAll('table:not(:has(th[scope]))').length") == 0
    assert browser.run("document.documentElement.lang") == "en"


def test_print_shows_mistakes_without_the_list(browser: Browser, tmp_path: Path) -> None:
    opened(browser, report(tmp_path))
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert len(texts(browser, "#printed article")) == 2
    assert browser.run("document.querySelectorAll('main details:not([open])').length") == 0
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert texts(browser, "#printed article") == []
