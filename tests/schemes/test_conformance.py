from papermage_core.testing import LabelSchemeSuite


class TestBio(LabelSchemeSuite):
    component = "bio"


class TestIo(LabelSchemeSuite):
    component = "io"


class TestIob1(LabelSchemeSuite):
    component = "iob1"


class TestBioes(LabelSchemeSuite):
    component = "bioes"


class TestBilou(LabelSchemeSuite):
    component = "bilou"


class TestSpan(LabelSchemeSuite):
    component = "span"
