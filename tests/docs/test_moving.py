"""The page for those who come from another tool: its Python runs, its files are read, its commands are understood."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from papermage_core.cli import data, train
from papermage_core.document import Document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/moving.md").read_text(encoding="utf-8")
YEARS = range(1990, 2010)
REFERENCES = ROOT / "examples/data/references/train.jsonl"


def test_a_script_of_papermage_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[1], found)  # type: ignore[index]
    assert capsys.readouterr().out == "Aspirin Aspirin\n"
    assert isinstance(found["doc"], Document)


@pytest.mark.parametrize("file", ["train.spacy", "train.txt", "train.json", "corpus"])
def test_files_of_the_other_tool_are_trained_on_as_they_are(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if file == "train.json":
        rows = [
            {"tokens": ["J.", "Doe", ".", str(year)], "ner_tags": ["B-author", "I-author", "O", "O"]} for year in YEARS
        ]
        Path(file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif file == "corpus":
        Path(file).mkdir()
        for year in YEARS:
            references = (
                f'<bibl><author>J. Doe</author>. <title level="a">On</title> <title level="j">J. Biol.</title> {year}'
            )
            frame = f"<TEI><teiHeader/><text><listBibl>{references}</bibl></listBibl></text></TEI>"
            Path(file, f"{year}.training.references.tei.xml").write_text(frame, encoding="utf-8")
    else:
        made = file.replace(".txt", ".conll")
        columns = ["writer.columns=token,ner", "writer.comments=false"] if made.endswith(".conll") else []
        assert data.main(["convert", str(REFERENCES), made, "writer.layers=author,title", *columns]) == 0
        Path(made).rename(file)
    command = next(line for line in PAGE.replace("\\\n", "").splitlines() if f"data_path={file}" in line)
    words = [re.sub(r"^label_field=.*", "label_field=author", word) for word in shlex.split(command)[1:]]
    words = [word for word in words if not word.startswith(("model_name_or_path=", "val_data_path=", "max_epochs="))]
    assert train.main([*words, "max_steps=2", "default_root_dir=run", "-q"]) == 0
    assert "author" in capsys.readouterr().out
