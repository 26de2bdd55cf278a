"""The reader keeps to what papermage_core asks of a document reader."""

from papermage_core.testing import DocumentReaderSuite


class TestAcmeReader(DocumentReaderSuite):
    component = "acme"
    samples = {"two-pages.acme": "Cystic fibrosis is rare.\fIt is known."}
    broken = {"latin.acme": b"Naevus\nna\xefve", "empty.acme": ""}
    texts = {
        "two-pages.acme": [
            {
                "tokens": ["Cystic", "fibrosis", "is", "rare", ".", "It", "is", "known", "."],
                "pages": ["Cystic fibrosis is rare.", "It is known."],
            }
        ]
    }
