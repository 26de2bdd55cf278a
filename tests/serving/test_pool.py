"""Requests gather into batches; what happens to the processes happens to no request that is not to blame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from papermage_core.errors import PapermageError
from papermage_core.serving import pool as pool_module
from papermage_core.serving.messages import Answer, Request, RequestError
from papermage_core.serving.metrics import Metrics
from papermage_core.serving.options import ServerOptions
from papermage_core.serving.pool import Pool
from papermage_core.serving.process import DiedError, together
from papermage_core.serving.service import GoneError, Service
from papermage_core.serving.settings import Settings

SETTINGS = Settings(options=ServerOptions(model_name_or_path="none", body_timeout=0.05, max_megabytes=0.001))


class FakeProcess:
    """Answers with the body; dies at ``poison``, waits at ``slow`` until it is told to go on."""

    labels: tuple[str, ...] = ("x",)
    started = 0
    batches: list[list[bytes]]
    go_on: asyncio.Event

    def __init__(self) -> None:
        self.is_alive, self.id = True, 1
        self.killed = asyncio.Event()
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, role: str, settings: Settings) -> FakeProcess:
        cls.started += 1
        return cls()

    async def ask(self, requests: list[Request]) -> list[Answer]:
        async with self._turn:
            bodies = [request.body for request in requests]
            self.batches.append(bodies)
            if not self.is_alive or b"poison" in bodies:
                self.is_alive = False
                raise DiedError
            if b"slow" in bodies:
                waits = [asyncio.ensure_future(each.wait()) for each in (self.go_on, self.killed)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return [Answer(status=200, body=body) for body in bodies]

    def kill(self) -> None:
        self.is_alive = False
        self.killed.set()

    async def stop(self) -> None:
        self.kill()


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    monkeypatch.setattr(pool_module, "Process", FakeProcess)
    monkeypatch.setattr(pool_module, "_GRACE", 0.05)
    monkeypatch.setattr(FakeProcess, "started", 0)
    monkeypatch.setattr(FakeProcess, "batches", [], raising=False)
    return FakeProcess


def running(test: Callable[[Pool], Awaitable[None]], **options: Any) -> None:
    """Run a test with a pool."""

    async def run() -> None:
        FakeProcess.go_on = asyncio.Event()
        given = {"processes": 1, "batch": 4, "wait": 0.0, "queue": 8, "seconds": 5.0, "ahead": False}
        pool = Pool("model", SETTINGS, Metrics(), **(given | options))
        await pool.start()
        try:
            await asyncio.wait_for(test(pool), 20)
        finally:
            await pool.stop()

    asyncio.run(run())


def asked(pool: Pool, *bodies: bytes) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(pool.answer(Request(kind="text", body=body))) for body in bodies]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_comes_while_the_model_works_goes_together() -> None:
    async def test(pool: Pool) -> None:
        first = asked(pool, b"slow")
        await turns()
        others = asked(pool, *(b"%d" % i for i in range(6)))
        await turns()
        assert pool.waiting == 6
        FakeProcess.go_on.set()
        assert [answer.body for answer in await asyncio.gather(*first, *others)] == [
            b"slow",
            *(b"%d" % i for i in range(6)),
        ]
        assert FakeProcess.batches == [[b"slow"], [b"0", b"1", b"2", b"3"], [b"4", b"5"]]

    running(test)


def test_an_idle_model_waits_a_little_for_company() -> None:
    async def test(pool: Pool) -> None:
        first = asked(pool, b"a")
        await turns()
        await asyncio.gather(*first, *asked(pool, b"b"))
        assert FakeProcess.batches == [[b"a", b"b"]]

    running(test, wait=0.02)


def test_what_goes_ahead_of_a_model_that_works_waits_while_more_comes() -> None:
    async def test(pool: Pool) -> None:
        tasks = asked(pool, b"slow")
        await asyncio.sleep(0.05)
        for body in (b"a", b"b", b"c"):
            tasks += asked(pool, body)
            await turns()
        while pool.waiting:
            await asyncio.sleep(0.01)
        FakeProcess.go_on.set()
        await asyncio.gather(*tasks)
        assert FakeProcess.batches == [[b"slow"], [b"a", b"b", b"c"]]

    running(test, wait=0.02, ahead=True)


def test_more_than_may_wait_is_sent_away() -> None:
    async def test(pool: Pool) -> None:
        tasks = asked(pool, b"slow")
        await turns()
        tasks += asked(pool, *[b"a"] * 8)
        await turns()
        assert not pool.is_ready
        with pytest.raises(RequestError) as caught:
            await pool.answer(Request(kind="text", body=b"b"))
        assert caught.value.status == 503
        assert caught.value.retry_after is not None
        assert caught.value.retry_after >= 1
        FakeProcess.go_on.set()
        await asyncio.gather(*tasks)
        assert pool.is_ready

    running(test)


def test_only_the_request_that_a_process_ends_at_fails() -> None:
    async def test(pool: Pool) -> None:
        first = asked(pool, b"slow")
        await turns()
        tasks = asked(pool, b"a", b"poison", b"b", b"c")
        await turns()
        FakeProcess.go_on.set()
        found = await asyncio.gather(*first, *tasks, return_exceptions=True)
        assert [each.body for each in found if isinstance(each, Answer)] == [b"slow", b"a", b"b", b"c"]
        (error,) = (each for each in found if isinstance(each, RequestError))
        assert error.status == 422
        assert FakeProcess.started == 3
        assert (await pool.answer(Request(kind="text", body=b"d"))).body == b"d"

    running(test)


def test_a_request_whose_time_is_up_while_it_waits_is_not_worked_on() -> None:
    async def test(pool: Pool) -> None:
        first = asked(pool, b"slow")
        await turns()
        found = await asyncio.gather(*asked(pool, b"a"), return_exceptions=True)
        assert [each.status for each in found if isinstance(each, RequestError)] == [503]
        FakeProcess.go_on.set()
        await asyncio.gather(*first, return_exceptions=True)
        assert [b"a"] not in FakeProcess.batches

    running(test, seconds=0.05)


def test_a_process_that_works_too_long_is_replaced() -> None:
    async def test(pool: Pool) -> None:
        with pytest.raises(RequestError, match=r"took more than 0\.05 s"):
            await pool.answer(Request(kind="pdf", body=b"slow"))
        assert (await pool.answer(Request(kind="pdf", body=b"a"))).body == b"a"
        assert FakeProcess.started == 2

    running(test, at_once=0.05, retry=False)


def test_a_client_that_hangs_up_leaves_the_queue() -> None:
    async def test(pool: Pool) -> None:
        first = asked(pool, b"slow")
        await turns()
        gone, stays = asked(pool, b"gone", b"stays")
        await turns()
        gone.cancel()
        await turns()
        FakeProcess.go_on.set()
        await asyncio.gather(*first, stays)
        assert FakeProcess.batches == [[b"slow"], [b"stays"]]

    running(test)


def test_a_process_that_cannot_be_started_again_fails_requests_not_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "_PAUSE", 0.0)

    async def test(pool: Pool) -> None:
        whole = FakeProcess.start

        async def fail(role: str, settings: Settings) -> FakeProcess:
            raise PapermageError("the folder is gone")

        monkeypatch.setattr(FakeProcess, "start", fail)
        with pytest.raises(RequestError) as caught:
            await pool.answer(Request(kind="text", body=b"poison"))
        assert caught.value.status == 503
        assert not pool.is_ready
        monkeypatch.setattr(FakeProcess, "start", whole)
        assert (await pool.answer(Request(kind="text", body=b"a"))).body == b"a"
        assert pool.is_ready

    running(test)


# Bodies --------------------------------------------------------------------------------------------------------------


def received(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """What gives these messages, and then nothing more."""
    given = iter(messages)

    async def receive() -> dict[str, Any]:
        found = next(given, None)
        return found if found is not None else await asyncio.Event().wait()  # type: ignore[return-value]

    return receive


def of_body(*chunks: bytes, more: bool = False) -> list[dict[str, Any]]:
    last = len(chunks) - 1
    return [{"type": "http.request", "body": each, "more_body": more or i < last} for i, each in enumerate(chunks)]


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        (of_body(b"half", more=True), 408),
        (of_body(b"x" * 600, b"x" * 600), 413),
        ([*of_body(b"half", more=True), {"type": "http.disconnect"}], None),
        ([*of_body(b"slow"), {"type": "http.disconnect"}], None),
    ],
)
def test_bodies_are_bounded_in_time_and_size_and_nothing_is_kept(
    messages: list[dict[str, Any]], status: int | None
) -> None:
    async def run() -> None:
        FakeProcess.go_on = asyncio.Event()
        service = Service(SETTINGS)
        await service.start()
        try:
            with pytest.raises((RequestError, GoneError)) as caught:
                await service.answer(Request(kind="text", body=b""), received(*messages))
            assert getattr(caught.value, "status", None) == status
            assert (service.in_hand, service.bytes_in_hand) == (0, 0)
        finally:
            await service.stop()

    asyncio.run(run())


def test_the_bodies_of_all_clients_together_are_bounded() -> None:
    async def run() -> None:
        FakeProcess.go_on = asyncio.Event()
        service = Service(SETTINGS)
        await service.start()
        half = [received(*of_body(b"x" * 900, more=True)) for _ in range(20)]
        tasks = [service.answer(Request(kind="text", body=b""), each) for each in half]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await service.stop()
        statuses = [each.status for each in found if isinstance(each, RequestError)]
        assert sorted(statuses) == [408] * 13 + [503] * 7
        assert service.bytes_in_hand == 0

    asyncio.run(run())


def test_what_starts_together_has_ended_when_one_fails() -> None:
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("this one")

    async def slow(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # as a process takes a while to end; a second cancellation would not wait for it
            ended.append(name)

    async def both(*parts: Any) -> None:
        with pytest.raises(ValueError, match="this one"):
            await together(*parts)
        assert ended == ["a", "b"]
        ended.clear()
        task = asyncio.ensure_future(together(slow("a"), together(slow("b"))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["a", "b"]

    asyncio.run(both(slow("a"), fails(), slow("b")))
