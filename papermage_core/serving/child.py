"""A process that works for a server: it answers the frames of its standard input until this ends."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING, Protocol

from papermage_core import errors
from papermage_core.errors import PapermageError, counted
from papermage_core.serving.messages import Answer, Ready, Request, RequestError, pack, read_frame, unpack

if TYPE_CHECKING:
    from papermage_core.serving.settings import Settings

__all__ = ["INTERNAL", "Worker", "serve"]

_log = logging.getLogger(__name__)
INTERNAL = RequestError(500, "the server failed at this request", do="tell whoever runs it; its log says more")


class Worker(Protocol):
    """What a process does."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it finds."""

    def answer(self, requests: list[Request]) -> list[Answer]:
        """Return an answer to each request."""


def serve(role: str) -> None:
    """Read the settings, then batches of requests, and write the answers to each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is typed to stop the server is not for this process
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever libraries print is no answer
        settings: Settings = pickle.loads(read_frame(sys.stdin.buffer) or b"")
        level = max(settings.log_level, logging.ERROR) if role == "upload" else settings.log_level
        logging.basicConfig(level=level, format="%(message)s")  # what is odd about uploads is their senders' affair
        try:
            worker = _made(role, settings)
            ready = Ready(labels=worker.labels)
        except Exception as exc:
            if not isinstance(exc, PapermageError):
                _log.exception("this process cannot start")
            kind = next((cls.__name__ for cls in type(exc).__mro__ if cls.__name__ in errors.__all__), "PapermageError")
            ready = Ready(error=str(exc) or type(exc).__name__, kind=kind)
        gc.collect()
        gc.freeze()  # the model is no garbage, and need not be looked through
        out.write(pack(ready))
        out.flush()
        while not ready.error and (content := read_frame(sys.stdin.buffer)) is not None:
            out.write(pack(_answers(worker, unpack(content, list[Request]))))
            out.flush()


def _made(role: str, settings: Settings) -> Worker:
    if role == "model":
        from papermage_core.serving.model import ModelWorker

        return ModelWorker(settings)
    from papermage_core.serving.uploads import UploadWorker

    return UploadWorker(settings)


def _answers(worker: Worker, requests: list[Request]) -> list[Answer]:
    try:
        return worker.answer(requests)
    except Exception:  # nothing that a client sends ends the process
        _log.exception("a batch of %s failed", counted(len(requests), "requests"))
        return [INTERNAL.answer() for _ in requests]
