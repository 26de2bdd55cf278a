"""The profile of a model that went on from another is that of the documents of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from papermage_core.data.corpus import parse_documents
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import ParsedDocument
from papermage_core.evaluation import Profile
from papermage_core.plugin.spec import ContextNeeds


def test_it_is_that_of_all_documents_together(write_corpus: Callable[..., Path], tmp_path: Path) -> None:
    def parsed(seed: int) -> list[ParsedDocument]:
        path = write_corpus(tmp_path / f"{seed}.jsonl", n=5, seed=seed)
        labelling = Labelling(
            label_field=("names",),
            entity_name="tokens",
            context_name="pages",
            label_attribute=None,
            overlap_policy="longest",
        )
        return list(parse_documents(DocumentSource((path,)), labelling, ContextNeeds(), Issues()))

    first, second, third = (parsed(seed) for seed in (1, 2, 3))
    # the second run validates on some that neither was trained on, and trains on what the first was chosen by
    found = Profile.of([*second, first[0]], third).after(Profile.of(first, second[:2]))
    both = [*first, *second, first[0]]
    expected = Profile.of(both, third)
    for name in ("words", "texts", "counts", "documents", "chosen_by"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert Profile.from_json(found.to_json()).knows(first[3].symbols)
