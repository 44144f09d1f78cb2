"""What a bound refuses is seen: in `$SYS`, in the heartbeat, and in one log line a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import redis
from broker_process import eventually
from raw import RawClient

from broker import bounds as bounds_module
from broker.accounts import Account
from broker.bounds import Bound, Bounds
from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from broker_process import BrokerProcess

BOUND_BYTES = 64 * 1024
HALF_A_PACKET = b"\x10\x80\x80\x08" + bytes(40_000)  # the beginning of a CONNECT of 128 KiB


def test_a_bound_that_is_crossed_is_seen_everywhere(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker(RECEIVE_BUFFER_BYTES=str(BOUND_BYTES), CONNECT_TIMEOUT_S="60")
    with contextlib.ExitStack() as stack:
        for _ in range(6):  # the bound holds one of them
            stack.enter_context(RawClient(process.host, process.port, 4)).send(HALF_A_PACKET)
        eventually(lambda: "receive_buffers 5 times" in process.log, "a line that names the bound", 20)
        with redis.Redis.from_url(process.store_url) as store:
            (node,) = store.zrange(schema.NODES, 0, -1)
            info = schema.node_info(node.decode())
            eventually(lambda: store.hget(info, "receive_buffers_refused") == b"5", "a heartbeat with the count", 20)
            assert int(store.hget(info, "receive_buffers_bytes") or 0) > 30_000
            assert int(store.hget(info, "receive_buffers_limit_bytes") or 0) == BOUND_BYTES
            assert int(store.hget(info, "subscriptions_limit_bytes") or 0) > 1_000_000
        client = stack.enter_context(RawClient(process.host, process.port))
        client.connect("operator")
        client.subscribe(("$SYS/broker/bounds/#", 0))
        values: dict[str, int] = {}
        while not values.get("receive_buffers/used"):  # published every ten seconds
            publish = client.receive_publish(deadline_s=20)
            values[publish.topic.removeprefix("$SYS/broker/bounds/")] = int(publish.payload)
        assert values["receive_buffers/refused"] == 5
        assert values["receive_buffers/maximum"] == BOUND_BYTES
        assert 30_000 < values["receive_buffers/used"] <= BOUND_BYTES
        assert values["subscriptions/refused"] == 0
    assert "RECEIVE_BUFFER_BYTES" in process.log
    assert process.log.count("Bounds crossed") == 1


def test_a_line_says_what_was_refused_since_the_last_one() -> None:
    wills, topics = Account("wills", 100), Account("topics", 3 * 1024 * 1024)
    bounds = Bounds(map(Bound.of, (wills, topics)))
    assert bounds._line() == ""
    for _ in range(3):
        wills.charge(1000)
    topics.charge(1024)
    assert "line: wills 3 times (0.0 of 0.0 MiB used; a larger CONTAINER_MEMORY raises it). See" in bounds._line()
    topics.charge(10**9)
    assert "line: topics 1 times (0.0 of 3.0 MiB used; " in bounds._line()
    assert bounds._line() == ""
    assert bounds.sys_values()["bounds/wills/refused"] == 3


async def test_there_is_one_line_in_an_interval(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bounds_module, "LOG_INTERVAL_S", 0.2)
    monkeypatch.setattr(bounds_module, "CHECK_S", 0.01)
    account = Account("wills", 100)
    running = asyncio.create_task(Bounds([Bound.of(account)]).run())
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            account.charge(1000)
            await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    counts = [int(line.split(" times")[0].rpartition(" ")[2]) for line in caplog.messages]
    assert 2 <= len(counts) <= 4
    assert sum(counts) <= 50
