"""Warnings given once."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import pickle
import sys

import pytest

from papermage_transformers.once import WarnOnce


def test_a_warning_is_given_once_and_by_a_copy_once_more(caplog):
    warn = WarnOnce(logging.getLogger("papermage_transformers.test"))
    for number in range(3):
        warn("number %d", number)
    for again in (copy.deepcopy(warn), pickle.loads(pickle.dumps(warn))):
        assert not again.done
        again("a copy")
    assert [record.getMessage() for record in caplog.records] == ["number 0", "a copy", "a copy"]


@pytest.mark.skipif(sys.platform != "linux", reason="data is prepared by forked processes on Linux alone")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_warning_of_a_forked_process_is_not_given_again():
    warn = WarnOnce(logging.getLogger("papermage_transformers.test"))
    process = multiprocessing.get_context("fork").Process(target=warn, args=("there",))
    process.start()
    process.join()
    assert warn.done
