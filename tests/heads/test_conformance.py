from typing import ClassVar

from papermage_core.testing import ModelHeadSuite

TAG_SCHEMES = ("bio", "io", "iob1", "bioes", "bilou")


class TestLinear(ModelHeadSuite):
    component = "linear"
    schemes = TAG_SCHEMES


class TestUnconstrainedLinear(ModelHeadSuite):
    component = "linear"
    options: ClassVar = (
        {"constrained": False, "class_weights": "balanced", "label_smoothing": 0.1, "focal_gamma": 1.0},
    )


class TestCrf(ModelHeadSuite):
    component = "crf"
    schemes = TAG_SCHEMES


class TestWeightedCrf(ModelHeadSuite):
    component = "crf"
    options: ClassVar = ({"class_weights": "balanced", "focal_gamma": 1.0},)


class TestStrictCrf(ModelHeadSuite):
    component = "crf"
    options: ClassVar = ({"threshold": 0.6},)


class TestSpan(ModelHeadSuite):
    component = "span"
    options: ClassVar = (
        {"max_length": 7, "max_gap": 0, "overlap": "any"},
        {"max_length": 3, "max_gap": 0, "overlap": "none"},
    )
