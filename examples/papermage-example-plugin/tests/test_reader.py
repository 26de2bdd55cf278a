"""The reader keeps to what papermage_core asks of a document reader."""

from papermage_core.testing import DocumentReaderSuite


class TestExamplePluginReader(DocumentReaderSuite):
    component = "example-plugin"
    samples = {"two-pages.example-plugin": "Cystic fibrosis is rare.\fIt is known."}
    broken = {"latin.example-plugin": b"Naevus\nna\xefve", "empty.example-plugin": ""}
    texts = {
        "two-pages.example-plugin": [
            {
                "tokens": ["Cystic", "fibrosis", "is", "rare", ".", "It", "is", "known", "."],
                "pages": ["Cystic fibrosis is rare.", "It is known."],
            }
        ]
    }
