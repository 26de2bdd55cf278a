"""Encoders with one fault each that only shows in a long run, in training, or in another process: each is caught."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from tests.testing.helpers import SoundEncoder, failed, fault, suite_of


class SaltsItsRows(SoundEncoder):
    def _windows(self, context, stride):
        rows = {"rows": np.array([1 + hash(word) % 300 for word in context.words], np.int32)}
        return [
            attrs.evolve(w, features={"rows": rows["rows"][w.start : w.stop]})
            for w in super()._windows(context, stride)
        ]


class TakesTheOrderOfASet(SoundEncoder):
    """Numbers the words of the data as a set gives them."""

    listed = tuple({f"w{number}" for number in range(40)} | {"the", "of"})

    def _windows(self, context, stride):
        number = {word: 1 + i for i, word in enumerate(self.listed)}
        rows = np.array([number.get(word, 0) for word in context.words], np.int32)
        return [attrs.evolve(w, features={"rows": rows[w.start : w.stop]}) for w in super()._windows(context, stride)]


class ReadsItsFileAgain(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.terms = Path(config.file).read_text(encoding="utf-8").split() if config.file else []

    def save(self, folder):
        (folder / "terms.txt").write_text("\n".join(self.terms), encoding="utf-8")


class CachesByLength(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.made = {}

    def _windows(self, context, stride):
        if len(context) != 12:
            return super()._windows(context, stride)
        return self.made.setdefault(len(context), super()._windows(context, stride))


class FillsACache(SoundEncoder):
    """Takes row 1 for every word once a thousand are known."""

    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.known = set()

    def _windows(self, context, stride):
        if len(self.known) < 1000:
            self.known |= set(context.words)
            return super()._windows(context, stride)
        return [
            attrs.evolve(w, features={"rows": np.ones(w.stop - w.start, np.int32)})
            for w in super()._windows(context, stride)
        ]


class RemembersTraining(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.shift = 0.0

    def forward(self, features):
        vectors = super().forward(features)
        if self.training:
            self.shift = float(vectors.detach().mean()) + 0.3
        return vectors + self.shift


class AveragesTheBatchInTraining(SoundEncoder):
    def forward(self, features):
        vectors = super().forward(features)
        return vectors - vectors.mean((0, 1)) if self.training else vectors


class NormalisesTheBatch(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, features):
        return self.norm(super().forward(features).transpose(1, 2)).transpose(1, 2)


class DropsThenAverages(SoundEncoder):
    """Dropout of its own, which the kit cannot turn off, and a mean over the batch."""

    def forward(self, features):
        vectors = super().forward(features)
        if not self.training:
            return vectors
        return (vectors - vectors.mean(0, keepdim=True)) * (torch.rand(vectors.shape) > 0.3)


class TreatsTheFirstRowOtherwise(SoundEncoder):
    def forward(self, features):
        vectors = super().forward(features)
        return torch.cat([vectors[:1] * 0.5, vectors[1:]])


class HasATableOfPlaces(SoundEncoder):
    """Twenty-four places, for windows of up to forty units."""

    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.places = nn.Embedding(24, 8)

    def forward(self, features):
        vectors = super().forward(features)
        return vectors + self.places(torch.arange(vectors.shape[1]))


class GrowsItsVocabulary(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.number = {}

    def _windows(self, context, stride):
        rows = np.array([1 + self.number.setdefault(word, len(self.number)) for word in context.words], np.int32)
        return [attrs.evolve(w, features={"rows": rows[w.start : w.stop]}) for w in super()._windows(context, stride)]


class CountsInFloat64(SoundEncoder):
    def forward(self, features):
        return super().forward(features) * torch.from_numpy(np.ones(1))


class MasksWithMinusABillion(SoundEncoder):
    def forward(self, features):
        vectors = super().forward(features)
        seen = self.mix(torch.cat([vectors] * 3, -1)).masked_fill((features["rows"] == 0)[..., None], -1e9)
        return vectors + seen.relu()


class KeepsAPlainTensor(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.scale = torch.linspace(0.5, 1.5, 8)

    def forward(self, features):
        return super().forward(features) * self.scale


SCALE = torch.linspace(0.5, 1.5, 8)


class UsesATensorOfItsModule(SoundEncoder):
    def forward(self, features):
        return super().forward(features) * SCALE


class WritesThroughTorch(SoundEncoder):
    def collate(self, windows):
        for window in windows:
            torch.from_numpy(window.features["rows"]).clamp_(max=100)
        return super().collate(windows)


class SortsInPlace(SoundEncoder):
    def collate(self, windows):
        for window in windows:
            window.features["rows"] += 0
        return super().collate(windows)


class ChangesTheContext(SoundEncoder):
    def _windows(self, context, stride):
        found = super()._windows(context, stride)
        context.words[:] = [word.lower() for word in context.words]
        return found


class DropsWordsWithNumpy(SoundEncoder):
    def collate(self, windows):
        features = super().collate(windows)
        if self.training:
            features["rows"] = features["rows"] * torch.from_numpy(np.random.rand(*features["rows"].shape) > 0.3)
        return features


class HasAGeneratorOfItsOwn(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.random = np.random.default_rng(0)

    def collate(self, windows):
        features = super().collate(windows)
        if self.training:
            features["rows"] = features["rows"] * torch.from_numpy(self.random.random(features["rows"].shape) > 0.3)
        return features


class SeedsTheRun(SoundEncoder):
    def __init__(self, config, folder):
        torch.manual_seed(0)
        super().__init__(config, folder)


class KeepsWindows(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.seen = []

    def collate(self, windows):
        self.seen.extend(windows)
        return super().collate(windows)


class SparseInTwo(SoundEncoder):
    """Makes a gradient sparse that is not one of rows."""

    def make_gradients_sparse(self):
        self.words.weight.register_post_accumulate_grad_hook(lambda w: setattr(w, "grad", w.grad.to_sparse()))


class ForgetsHalfWhenSparse(SoundEncoder):
    def make_gradients_sparse(self):
        self.words.weight.register_hook(lambda gradient: gradient / 2)


class KeepsGraphs(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.norms = []

    def forward(self, features):
        vectors = super().forward(features)
        self.norms.append(vectors.norm())
        return vectors


class TakesTheRootOfZero(SoundEncoder):
    def forward(self, features):
        vectors = super().forward(features)
        length = vectors.square().sum(-1, keepdim=True) * (features["rows"] % 2)[..., None]
        return torch.where(length > 0, vectors * length.sqrt(), vectors)


class Prints(SoundEncoder):
    def collate(self, windows):
        print("collate", len(windows))
        return super().collate(windows)


class PrintsPastPython(SoundEncoder):
    def save(self, folder):
        os.write(1, b"saving\n")


class SetsTheDefaultDtype(SoundEncoder):
    def __init__(self, config, folder):
        super().__init__(config, folder)
        os.environ["TOKENIZERS_PARALLELISM_OF_MINE"] = "false"


class TurnsGradientsOff(SoundEncoder):
    def save(self, folder):
        sys.setrecursionlimit(sys.getrecursionlimit() + 1000)


class LeavesAFileBehind(SoundEncoder):
    def save(self, folder):
        Path("words.txt").write_text("x", encoding="utf-8")


class LearnsTooFast(SoundEncoder):
    def parameter_groups(self, learning_rate, weight_decay):
        return [{"params": list(self.parameters()), "lr": 100 * learning_rate}]


class LeavesAFileOpen(SoundEncoder):
    def save(self, folder):
        (folder / "words.txt").open("w", encoding="utf-8").write("x")


class OpensInTheLocale(SoundEncoder):
    def save(self, folder):
        with (folder / "words.txt").open("w") as file:
            file.write("x")


class KnowsLengthsFromCollating(SoundEncoder):
    def collate(self, windows):
        self.lengths = torch.tensor([window.stop - window.start for window in windows])
        return super().collate(windows)

    def forward(self, features):
        vectors = super().forward(features)
        return vectors * (torch.arange(vectors.shape[1])[None] < self.lengths[:, None])[..., None]


class SwitchesDropoutOff(SoundEncoder):
    def windows(self, contexts, *, stride):
        self.eval()
        return super().windows(contexts, stride=stride)


class CollatesIntoOneTensor(SoundEncoder):
    buffer = torch.zeros(2000, 60, dtype=torch.long)

    def collate(self, windows):
        rows = super().collate(windows)["rows"]
        if rows.shape[0] > 2000 or rows.shape[1] > 60:
            return {"rows": rows}
        place = self.buffer[: rows.shape[0], : rows.shape[1]]
        place.copy_(rows)
        return {"rows": place}


class SharesABias(SoundEncoder):
    bias_of_all: ClassVar[list[nn.Parameter]] = []

    def __init__(self, config, folder):
        super().__init__(config, folder)
        if not self.bias_of_all:
            self.bias_of_all.append(nn.Parameter(torch.zeros(self.output_size)))
        self.bias = self.bias_of_all[0]

    def forward(self, features):
        return super().forward(features) + self.bias


class CountsEncodersInItsClass(SoundEncoder):
    """Words have the rows of whichever encoder was built last."""

    built = 0

    def __init__(self, config, folder):
        super().__init__(config, folder)
        CountsEncodersInItsClass.built += 1

    def _windows(self, context, stride):
        return [
            attrs.evolve(w, features={"rows": (w.features["rows"] + self.built) % 300})
            for w in super()._windows(context, stride)
        ]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of them leave a file where they run


ELSEWHERE = "another process makes the same of the same"
STATE = "encoding keeps no state"
TRAIN = "in train mode padding and neighbours change nothing either"
LARGE = "many contexts and long ones are encoded"
DTYPE = "vectors have the dtype of the weights"
MOVE = "tensors move with the encoder"
GIVEN = "contexts and features are left as they are"
CHANCE = "only the seeded generator is drawn from"
KEPT = "nothing is kept of what was encoded"
PROCESS = "the process is left as it was"
PRINTED = "nothing is printed"
SHARE = "share nothing between the windows of a batch"

AHEAD = "batches may be collated ahead"
TWO = "two encoders share nothing"
SPARSE = "sparse gradients are those of the encoder"
CASES = [
    (KnowsLengthsFromCollating, AHEAD, "put all that forward needs of a batch into its features"),
    (CollatesIntoOneTensor, AHEAD, "return new tensors each time"),
    (
        SwitchesDropoutOff,
        "the mode is left as it is",
        "windows() took SwitchesDropoutOff, words, mix out of train mode",
    ),
    (SharesABias, TWO, "the weights bias of the first are others"),
    (CountsEncodersInItsClass, TWO, "the first makes other windows"),
    (SaltsItsRows, ELSEWHERE, "use no hash() of strings"),
    (TakesTheOrderOfASet, ELSEWHERE, "no order of a set"),
    (CachesByLength, STATE, "other windows once others were seen"),
    (FillsACache, STATE, "changes as it fills"),
    (RemembersTraining, STATE, "no statistic"),
    (AveragesTheBatchInTraining, TRAIN, SHARE),
    (NormalisesTheBatch, TRAIN, SHARE),
    (DropsThenAverages, TRAIN, SHARE),
    (TreatsTheFirstRowOtherwise, "padding and batch neighbours change nothing", "treat every row of a batch alike"),
    (HasATableOfPlaces, LARGE, "make windows that fit the encoder's tables"),
    (GrowsItsVocabulary, LARGE, "take rows of a table modulo its length"),
    (CountsInFloat64, DTYPE, "forward returned torch.float64"),
    (MasksWithMinusABillion, DTYPE, "mask with torch.finfo(x.dtype).min"),
    (KeepsAPlainTensor, MOVE, "scale is neither a parameter nor a buffer"),
    (UsesATensorOfItsModule, MOVE, "a tensor of shape (8,) is neither a parameter nor a buffer"),
    (WritesThroughTorch, GIVEN, "changed the features of a window in place"),
    (SortsInPlace, GIVEN, "features are a read-only map of the cache: work on a copy"),
    (ChangesTheContext, GIVEN, "windows() changed the contexts"),
    (DropsWordsWithNumpy, CHANCE, "no np.random"),
    (HasAGeneratorOfItsOwn, CHANCE, "no Generator of its own"),
    (SeedsTheRun, CHANCE, "call no manual_seed"),
    (KeepsWindows, KEPT, "keep no window, tensor or loss on the encoder"),
    (KeepsGraphs, KEPT, "keep numbers, with .item() or .detach()"),
    (SparseInTwo, SPARSE, "sparse in several dimensions"),
    (ForgetsHalfWhenSparse, SPARSE, "other gradients than before"),
    (TakesTheRootOfZero, "gradients are finite", "replace NaN and 0 before sqrt"),
    (Prints, PRINTED, "log with logging.getLogger"),
    (PrintsPastPython, PRINTED, "'saving' was printed"),
    (SetsTheDefaultDtype, PROCESS, "environment variables (TOKENIZERS_PARALLELISM_OF_MINE)"),
    (TurnsGradientsOff, PROCESS, "the recursion limit"),
    (LeavesAFileBehind, PROCESS, "words.txt was left behind"),
    (LearnsTooFast, "parameter groups hold every parameter once", "derive the rates of groups from the one given"),
    (LeavesAFileOpen, "files are closed", "open files in a with block"),
    (OpensInTheLocale, "text is opened in an encoding that is named", 'say encoding="utf-8"'),
]


@pytest.mark.parametrize(("encoder", "check", "message"), CASES, ids=[case[0].__name__ for case in CASES])
def test_a_faulty_encoder_is_caught(encoder, check, message):
    assert message in fault(suite_of(encoder), check)


def test_a_file_that_is_read_after_it_was_saved_is_caught(tmp_path):
    (tmp_path / "given.txt").write_text("heart\nlung", encoding="utf-8")
    suite = suite_of(ReadsItsFileAgain, file=str(tmp_path / "given.txt"))
    error = fault(suite, "a trained model is the same in another process")
    assert "the moved checkpoint fails in another process" in error
    error = fault(suite, "a moved checkpoint is all that is read")
    assert "given.txt was read, which is not in it" in error
    assert "have save(folder) write a copy of what is read" in error


def test_the_sound_encoder_passes():
    assert failed(suite_of(SoundEncoder)) == []
