from __future__ import annotations

from xml.etree import ElementTree

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from papermage_core.evaluation.svg import line_chart, reliability_diagram

points = st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e9, 1e9)), min_size=1, max_size=20)


@given(points)
@example([(0.0, 0.0), (0.0, 5e-324)])
@example([(0.0, 1e-310), (0.0, 1e-310)])
@example([(1e-201, 1e-199), (2e-199, 2e-199)])
def test_every_point_is_drawn_inside_the_picture(line: list[tuple[float, float]]) -> None:
    figure = ElementTree.fromstring(line_chart("t", {"a": line}))
    circles = list(figure.iter("circle"))
    assert len(circles) == len(line)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= 460
        assert 0 <= float(circle.attrib["cy"]) <= 220


def test_a_missing_value_leaves_a_gap_in_the_line() -> None:
    figure = ElementTree.fromstring(line_chart("t", {"a": [(0, 1), (1, 2), (2, float("nan")), (3, 1)]}))
    drawn = [path.attrib["d"] for path in figure.iter("path") if path.attrib.get("fill") == "none"]
    assert [d.count("M") for d in drawn] == [2]


def test_higher_values_stand_higher() -> None:
    figure = ElementTree.fromstring(reliability_diagram("t", {"a": [(0.1, 0.2), (0.9, 0.8)]}))
    low, high = figure.iter("circle")
    assert float(low.attrib["cy"]) > float(high.attrib["cy"])
    assert float(low.attrib["cx"]) < float(high.attrib["cx"])


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [(0.0, float("nan"))]}])
def test_nothing_to_draw_is_no_chart(series: dict[str, list[tuple[float, float]]]) -> None:
    assert line_chart("t", series) == ""
