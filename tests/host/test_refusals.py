"""How long refusals wait, and who is next to be asked about: pure logic, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from broker.host import authentication_queue
from broker.host.authentication_queue import AuthenticationQueue, TooManyWaitError
from broker.host.refusals import FREE_PER_NAME, LONGEST_DELAY_S, MOST_WAITING, Refusals

if TYPE_CHECKING:
    from collections.abc import Callable


def _refuse(refusals: Refusals, name: str | None, times: int, now: float = 0) -> float | None:
    for _ in range(times - 1):
        refusals.refuse(name, now)
    return refusals.refuse(name, now)


def test_the_delay_grows_for_one_name_and_falls_with_time() -> None:
    refusals = Refusals(60)
    assert _refuse(refusals, "a", FREE_PER_NAME) == 0
    assert refusals.refuse("a", 0) == 0.5
    assert refusals.refuse("a", 0) == 1
    assert _refuse(refusals, "a", 30) == LONGEST_DELAY_S
    assert refusals.refuse("b", 0) == 0
    assert refusals.is_failing("a", 0)
    assert not refusals.is_failing("b", 0)
    assert refusals.refuse("a", 30) == 0
    assert not refusals.is_failing("a", 30)


def test_many_names_together_are_delayed_too() -> None:
    refusals = Refusals(60)
    delays = [refusals.refuse(f"user-{number}", 0) for number in range(500)]
    assert delays[:50] == [0] * 50
    assert delays[-1] == LONGEST_DELAY_S
    assert refusals.is_storm(0)
    assert not refusals.is_storm(10)


def test_no_refusal_waits_until_connect_times_out() -> None:
    assert _refuse(Refusals(1), "a", 100) == 0.5


def test_refusals_that_wait_are_bounded() -> None:
    refusals = Refusals(60)
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_WAITING):
            stack.enter_context(refusals.waits())
        assert refusals.refuse("a", 0) == 0  # is answered at once, as long as there are few
        assert _refuse(refusals, "a", 20) is None
    assert _refuse(refusals, "a", 1) == LONGEST_DELAY_S


def test_names_are_bounded_and_harmless_in_the_log() -> None:
    refusals = Refusals(60)
    for number in range(20_000):
        refusals.refuse(f"{number}" + "\U0001f600" * 1000, number / 100)
    assert refusals._names.used_bytes <= 256 * 1024
    refusals.line()
    refusals.refuse('a"b\x1b[2J\n\u202e', 1000)
    refusals.refuse(None, 1000)
    assert refusals.line() == (
        'Credentials refused since the last such line: 2. User names tried most: none at all (1), "a?b?[2J??" (1).'
    )
    assert refusals.line() == ""


class Plugin:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: list[asyncio.Future[bool]] = []

    def about(self, name: str) -> Callable[[], asyncio.Future[bool]]:
        def authenticate() -> asyncio.Future[bool]:
            self.asked.append(name)
            self._answers.append(asyncio.get_running_loop().create_future())
            return self._answers[-1]

        return authenticate

    async def answer(self, *, is_allowed: bool) -> None:
        """Answer the first question that is open, and let what follows from it happen."""
        self._answers.pop(0).set_result(is_allowed)
        await _turns()


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Door:
    """A queue, a plugin and the connections that ask."""

    def __init__(self) -> None:
        self.refusals = Refusals(60)
        self.queue = AuthenticationQueue(self.refusals, lambda: 0)
        self.plugin = Plugin()
        self.asking: list[asyncio.Task[bool]] = []

    async def connect(self, *names: str, size_bytes: int = 0) -> None:
        for name in names:
            ask = self.queue.ask(name, b"secret of " + name.encode(), size_bytes, self.plugin.about(name))
            self.asking.append(asyncio.create_task(ask))
        await _turns()


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(authentication_queue, "MOST_ASKED", 2)
    monkeypatch.setattr(authentication_queue, "MOST_ASKED_UNKNOWN", 1)
    monkeypatch.setattr(authentication_queue, "MOST_ASKED_IN_STORM", 1)
    return Door()


async def test_who_was_let_in_before_is_next(door: Door) -> None:
    await door.connect("good")
    await door.plugin.answer(is_allowed=True)
    await door.connect("new-1", "new-2", "new-3", "good")
    assert door.plugin.asked == ["good", "new-1", "good"]
    for _ in range(4):
        await door.plugin.answer(is_allowed=True)
    assert door.plugin.asked[3:] == ["new-2", "new-3"]
    assert [task.result() for task in door.asking] == [True] * 5


async def test_names_that_are_refused_all_the_time_get_one_turn_of_four(door: Door) -> None:
    _refuse(door.refusals, "bad", 20)
    await door.connect(*["bad"] * 4, *(f"new-{number}" for number in range(6)))
    for _ in range(9):
        await door.plugin.answer(is_allowed=False)
    first_turns = door.plugin.asked[1:]
    assert first_turns[:4].count("bad") == 1
    assert first_turns[4:8].count("bad") == 1
    assert len(door.plugin.asked) == 10


async def test_too_many_failing_ones_get_no_answer(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication_queue, "MOST_FAILING", 3)
    await door.connect("first")
    _refuse(door.refusals, "bad", 20)
    await door.connect(*["bad"] * 5, "new")
    await door.plugin.answer(is_allowed=True)
    assert [type(task.exception()) for task in door.asking if task.done() and task.exception()] == [
        TooManyWaitError
    ] * 2
    while door.plugin._answers:
        await door.plugin.answer(is_allowed=True)
    assert door.queue._waiting_bytes == 0


async def test_what_waits_is_bounded_in_bytes(door: Door) -> None:
    await door.connect(*(f"new-{number}" for number in range(100)), size_bytes=256 * 1024)
    refused = [task for task in door.asking if task.done()]
    assert 80 < len(refused) < 100
    assert all(isinstance(task.exception(), TooManyWaitError) for task in refused)
    for task in door.asking:
        task.cancel()
    await _turns()
    assert door.queue._waiting_bytes == 0
    assert door.queue._asked == 0
    assert not any(door.queue._lanes)


async def test_a_connection_that_ends_gives_its_turn_to_the_next(door: Door) -> None:
    await door.connect("first", "second", "third")
    door.asking[0].cancel()
    await _turns()
    assert door.plugin.asked == ["first", "second"]
    door.asking[2].cancel()
    await _turns()
    await door.connect("fourth")
    door.plugin._answers.pop(0)  # of the one that is gone
    await door.plugin.answer(is_allowed=True)
    assert door.plugin.asked == ["first", "second", "fourth"]
    await door.plugin.answer(is_allowed=True)
