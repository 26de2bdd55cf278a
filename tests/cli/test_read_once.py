"""Standard input and pipes: what would read them a second time says so before anything is read or written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from papermage_core.cli import data, evaluate, train
from papermage_core.errors import DataError
from papermage_core.training.several import train_several
from papermage_core.training.tuning import tune

linux = pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no names for pipes here")


@pytest.fixture
def pipe() -> Iterator[str]:
    """What a shell gives for ``<(zcat a.jsonl.gz)``."""
    here, there = os.pipe()
    yield f"/dev/fd/{here}"
    os.close(here)
    os.close(there)


@linux
@pytest.mark.parametrize(
    ("main", "words"),
    [
        (data.main, ["split", "output_path={tmp}/out"]),
        (data.main, ["sample", "output_path={tmp}/out", "n=2"]),
        (data.main, ["sample", "output_path={tmp}/out", "n=2", "model_name_or_path={tmp}/model"]),
        (evaluate.main, ["model_name_or_path={tmp}/a", "compare={tmp}/b"]),
        (evaluate.main, ["model_name_or_path={tmp}/a", "guarantee=true"]),
        (train.main, ["label_field=x", "folds=2", "default_root_dir={tmp}/out"]),
        (train.main, ["label_field=x", "seed=1,2", "default_root_dir={tmp}/out"]),
        (train.main, ["label_field=x", "learning_curve=true", "default_root_dir={tmp}/out"]),
    ],
    ids=["split", "sample", "least sure", "compare", "guarantee", "folds", "seeds", "learning curve"],
)
def test_what_reads_documents_more_than_once_refuses_a_pipe(
    main: object, words: Sequence[str], pipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(tmp=tmp_path) for word in words]
    assert main([*given, f"data_path={pipe}"]) == DataError.exit_code  # type: ignore[operator]
    assert f"{pipe}: " in (told := capsys.readouterr().err)
    assert "documents are read more than once, which a pipe cannot be: write it to a file first" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("of_a_model", [False, True], ids=["of kinds", "least sure"])
def test_a_sample_of_standard_input_is_refused(
    of_a_model: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sample", "-", f"output_path={tmp_path / 'out.jsonl'}"]
    assert data.main([*words, *(["model_name_or_path=model"] if of_a_model else [])]) == DataError.exit_code
    assert "sample: documents are read more than once, which standard input cannot be" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_search_and_seeds_refuse_standard_input_to_validate_on(train_file: Path, tmp_path: Path) -> None:
    from papermage_core.training import EntityClassificationTrainConfig

    given = {"data_path": train_file, "val_data_path": "-", "label_field": "names"}
    config = EntityClassificationTrainConfig(**given, default_root_dir=tmp_path / "run", seed=(1, 2))
    with pytest.raises(DataError, match="seeds: documents are read more than once"):
        train_several(config, config.components())
    pytest.importorskip("optuna")
    with pytest.raises(DataError, match="papermage-tune: documents are read more than once"):
        tune(EntityClassificationTrainConfig(**given), None, tmp_path / "search")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "search").exists()
