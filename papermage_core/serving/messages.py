"""What the processes of a server say to each other: frames of MessagePack, each behind its length."""

from __future__ import annotations

from typing import IO, Any, TypeVar

import msgspec

__all__ = [
    "QUERY",
    "Answer",
    "Ready",
    "Request",
    "RequestError",
    "pack",
    "problem_of",
    "read_frame",
    "size_of",
    "unpack",
]

T = TypeVar("T")
_LENGTH = 8
JSON = "application/json"
QUERY = ("output", "min_score", "merge")
"""What a request asks in its address."""


class Request(msgspec.Struct, array_like=True, kw_only=True):
    """What a client sent."""

    kind: str
    """``json``, ``lines``, ``text``, ``pdf`` or ``form``; ``tasks`` or ``setup`` of Label Studio."""
    body: bytes
    content_type: str = ""
    output: str = "entities"
    merge: bool = True
    min_score: float | dict[str, float] | None = None
    seconds: float = 0
    """How long there is to answer it."""


class Answer(msgspec.Struct, array_like=True, kw_only=True):
    """What a client gets; of a file that was read, with ``kind``, what the model is to get."""

    status: int
    body: bytes
    content_type: str = JSON
    kind: str = ""
    documents: int = 0
    units: int = 0
    entities: int = 0


class Ready(msgspec.Struct, array_like=True, kw_only=True):
    """What a process says first: what it finds, or why it cannot work."""

    labels: tuple[str, ...] = ()
    error: str = ""
    kind: str = "PapermageError"
    """The class of the error, of those in `papermage_core.errors`."""


class RequestError(Exception):
    """A request that is not answered: what is wrong, where, and what to do."""

    def __init__(self, status: int, what: str, where: str = "", do: str = "", retry_after: int | None = None) -> None:
        super().__init__(what)
        self.status, self.what, self.where, self.do, self.retry_after = status, what, where, do, retry_after

    def answer(self) -> Answer:
        """Return it as a client gets it."""
        told = {"what": self.what, "where": self.where, "do": self.do}
        said: dict[str, Any] = {"status": self.status, **{key: value for key, value in told.items() if value}}
        return Answer(status=self.status, body=_encode_json({"error": said}))


def problem_of(answer: Answer) -> RequestError | None:
    """Return the problem that an answer tells of; None where there is none."""
    if answer.status < 400:
        return None
    said = msgspec.json.decode(answer.body)["error"]
    return RequestError(answer.status, *(said.get(key, "") for key in ("what", "where", "do")))


def pack(value: Any) -> bytes:
    """Return a frame."""
    content = msgspec.msgpack.encode(value)
    return len(content).to_bytes(_LENGTH, "big") + content


def unpack(content: bytes, kind: type[T]) -> T:
    """Return what a frame holds."""
    return msgspec.msgpack.decode(content, type=kind)


def size_of(head: bytes | None) -> int:
    """Return how many bytes follow a frame's head; how many a head has, for None."""
    return _LENGTH if head is None else int.from_bytes(head, "big")


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Return the content of the next frame; None at the end."""
    head = stream.read(_LENGTH)
    content = stream.read(size_of(head)) if len(head) == _LENGTH else b""
    return content or None


def _encode_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate in what a message quotes
        return msgspec.json.encode({"error": {k: _plain(v) for k, v in value["error"].items()}})


def _plain(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
