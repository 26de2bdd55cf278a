"""A search whose process is killed twice, at random moments: how many of its trials are run once, and to their end."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import Rows, record

TRIALS, KILLS, EPOCHS = 20, 2, 2
DATA = Path(__file__).parents[1] / "examples" / "data" / "references"


def run() -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        search = Path(folder) / "search"
        command = [
            *(sys.executable, "-m", "papermage_core.cli.tune", "-q", f"default_root_dir={search}"),
            *(f"data_path={DATA / 'train.jsonl'}", f"val_data_path={DATA / 'dev.jsonl'}", "label_field=title,author"),
            *(f"n_trials={TRIALS}", f"max_epochs={EPOCHS}", "pruning=false", "encoder.width=16", "num_threads=1"),
            *("search=learning_rate,encoder.dropout", "cache=false", "enable_progress_bar=false"),
        ]
        for share in range(1, KILLS + 1):
            _kill_in(command, search / "trials", after=share * TRIALS // (KILLS + 1))
        subprocess.run(command, env=_environment(), check=True, stdout=subprocess.DEVNULL)
        trials = json.loads((search / "trials.json").read_text(encoding="utf-8"))["trials"]
        right = [each for each in trials if each["state"] == "complete" and _epochs(search, each) == EPOCHS]
        different = {json.dumps(each["values"]) for each in right}
    yield record(
        f"papermage-tune killed {KILLS} times: trials to their end, once each",
        min(len(right), len(different)) if len(trials) == TRIALS else 0,
        "trials",
        reference="trials asked for",
        reference_value=TRIALS,
        target="1",
        peers=("optuna",),
    )


def _kill_in(command: list[str], trials: Path, *, after: int) -> None:
    """Kill the process at a random moment once so many trials were begun."""
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL)
    while process.poll() is None and not (trials / f"{after:04}").exists():
        time.sleep(0.01)
    time.sleep(2 * random.random())
    process.kill()
    process.wait()


def _epochs(search: Path, trial: dict[str, int]) -> int:
    with (search / "trials" / f"{trial['number']:04}" / "metrics.csv").open(encoding="utf-8") as file:
        return len({row["epoch"] for row in csv.DictReader(file)})


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
