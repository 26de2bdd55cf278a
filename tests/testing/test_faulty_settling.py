"""Deliberately faulty ways to learn from the training data, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import itertools

import attrs
import pytest

from papermage_core.plugin.spec import ContextEncoderConfig, ContextNeeds, ModelHeadConfig, learned
from papermage_core.testing import ContextEncoderSuite, ModelHeadSuite, TinyEncoder, TinyEncoderConfig
from papermage_core.testing.runner import run_suite


@attrs.frozen(kw_only=True)
class Sound(ContextEncoderConfig):
    """Has a row for each length of a word that it learned; each of the others changes one thing."""

    lengths: tuple[int, ...] = learned(help="lengths of the words of the training data")

    def settle(self, contexts):
        lengths = sorted({len(word) for context in contexts for word in context.words})
        return attrs.evolve(self, lengths=tuple(lengths))

    def build(self, folder=None):
        return TinyEncoder(TinyEncoderConfig(size=4, rows=2 + len(self.lengths), window=8))


@attrs.frozen(kw_only=True)
class SoundFile(Sound):
    """Learns bytes, which are a file of their own, from the gold that it is shown."""

    ends: bytes | None = learned(help="the last letters of entities")

    @property
    def needs(self):
        return ContextNeeds(gold=True)

    def settle(self, contexts):
        ends = {context.words[span.stop - 1][-1:] for context in contexts if context.gold for span in context.gold}
        return attrs.evolve(self, ends="".join(sorted(ends)).encode())

    def build(self, folder=None):
        return TinyEncoder(TinyEncoderConfig(size=4, rows=2 + len(self.ends or b""), window=8))


@attrs.frozen(kw_only=True)
class TakesGoldForGranted(SoundFile):
    def settle(self, contexts):
        return attrs.evolve(self, lengths=tuple(len(context.gold) for context in contexts))


@attrs.frozen(kw_only=True)
class TakesAnIndex(Sound):
    def settle(self, contexts):
        return attrs.evolve(self, lengths=tuple({len(word) for word in contexts[0].words}))


@attrs.frozen(kw_only=True)
class CountsItsCalls(Sound):
    def settle(self, contexts):
        return attrs.evolve(self, lengths=(next(calls),))


calls = itertools.count()


@attrs.frozen(kw_only=True)
class TellsListsApart(Sound):
    def settle(self, contexts):
        return attrs.evolve(self, lengths=(int(isinstance(contexts, list)),))


@attrs.frozen(kw_only=True)
class ReturnsNothing(Sound):
    def settle(self, contexts):
        list(contexts)


@attrs.frozen(kw_only=True)
class LearnsAList(Sound):
    def settle(self, contexts):
        return attrs.evolve(self, lengths=[len(context) for context in contexts])


@attrs.frozen(kw_only=True)
class KeepsItElsewhere(Sound):
    def settle(self, contexts):
        settled = attrs.evolve(self)
        elsewhere.append((settled, max(map(len, contexts))))
        return settled

    def build(self, folder=None):
        longest = next((longest for config, longest in elsewhere if config is self), 1)
        return TinyEncoder(TinyEncoderConfig(size=4, rows=longest, window=8))


elsewhere: list = []


@attrs.frozen(kw_only=True)
class HeadThatTakesAnIndex(ModelHeadConfig):
    def settle(self, targets, scheme):
        assert len(targets[0]) > 0
        return self

    def build(self, input_size, scheme):
        raise NotImplementedError


SETTLED = "a settled config is a config that can be kept"
BUILT = "what was learned builds the same encoder"


@pytest.mark.parametrize(
    ("config", "suite", "check", "message"),
    [
        (TakesGoldForGranted, ContextEncoderSuite, SETTLED, "settle failed with TypeError"),
        (TakesAnIndex, ContextEncoderSuite, SETTLED, "it has a length and no index"),
        (CountsItsCalls, ContextEncoderSuite, SETTLED, "for the same data"),
        (TellsListsApart, ContextEncoderSuite, SETTLED, "for a stream"),
        (ReturnsNothing, ContextEncoderSuite, SETTLED, "return attrs.evolve(self, ...)"),
        (LearnsAList, ContextEncoderSuite, SETTLED, "lengths: expected tuple[int, ...], plain and finite, got ["),
        (KeepsItElsewhere, ContextEncoderSuite, BUILT, "put what settle learns into learned() fields"),
        (KeepsItElsewhere, ContextEncoderSuite, "a saved encoder encodes the same", "the weights do not fit"),
        (HeadThatTakesAnIndex, ModelHeadSuite, SETTLED, "it has a length and no index"),
    ],
)
def test_faulty_settling_is_caught(config, suite, check, message):
    (found,) = run_suite(type("Suite", (suite,), {"config_class": config}), only=check)
    assert not found.passed
    assert message in found.error


@pytest.mark.parametrize("config", [Sound, SoundFile])
def test_sound_settling_passes(config):
    suite = type("Suite", (ContextEncoderSuite,), {"config_class": config, "examples": 4})
    assert [result for result in run_suite(suite) if not result.passed] == []
