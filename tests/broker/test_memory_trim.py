"""What a burst took is given back to the system, not only to malloc."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
from broker_process import eventually
from raw import RawClient

from broker.memory_trim import FIRST_PAUSE_S, GROWN_BYTES, LAST_PAUSE_S, MemoryTrim, memory_trim, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess

    from local.valkey import EmbeddedValkey

PUBLISHERS, MESSAGES = 80, 700
MIB = 1024 * 1024


def _resident_mib(process: BrokerProcess) -> float:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / MIB


def test_memory_is_back_after_a_store_outage(start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey) -> None:
    process = start_broker(BACKLOG_BYTES=str(128 * MIB))
    with contextlib.ExitStack() as stack:
        publishers = [stack.enter_context(RawClient(process.host, process.port, 4)) for _ in range(PUBLISHERS)]
        for number, publisher in enumerate(publishers):
            publisher.connect(f"publisher-{number}")
            publisher.publish("t", b"x", qos=1)
        before = _resident_mib(process)
        store.pause()
        payload = bytes(1000)
        messages = [mqtt.publish(4, "t", payload, qos=1, packet_id=each) for each in range(1, MESSAGES + 1)]
        for publisher in publishers:  # each less than what one client may have unstored
            publisher.send(b"".join(messages))
        eventually(lambda: _resident_mib(process) > before + 50, "the backlog is in memory", 20)
        store.resume()
        for publisher in publishers:
            for _ in messages:
                publisher.receive(mqtt.PUBACK, deadline_s=30)
        eventually(lambda: _resident_mib(process) < before + 20, f"about {before:.0f} MiB again", 20)
    assert process.terminate() == 0


WATCHES = """
    import gc, weakref
    from amqtt.plugins.base import BasePlugin

    class Watches(BasePlugin):
        async def on_broker_client_connected(self, *, client_id, client_session):
            gc.disable()  # so that only what nothing refers to is gone
            if client_id == "watched":
                self.session = weakref.ref(client_session)

        async def on_broker_message_received(self, *, client_id, message):
            if message.topic == "look":
                await self.context.broadcast_message("seen", b"gone" if self.session() is None else b"there")
"""


def test_what_plugins_were_told_of_a_client_goes_with_it(start_with_plugins: Callable[..., BrokerProcess]) -> None:
    process = start_with_plugins("plugins: {users_plugins.Watches: {}}", WATCHES, ALLOW_ANONYMOUS="true")
    with RawClient(process.host, process.port) as operator:
        operator.connect("operator")
        operator.subscribe(("seen", 0))
        with RawClient(process.host, process.port) as watched:
            watched.connect("watched", will=mqtt.Will("w", bytes(1000)))
            watched.publish("t", b"x", qos=1)
            operator.publish("look")
            assert operator.receive_publish().payload == b"there"

        def is_gone() -> bool:
            operator.publish("look")
            return operator.receive_publish().payload == b"gone"

        eventually(is_gone, "nothing refers to it")


class Process:
    """What it has, what clients hold of it, and how often it was trimmed."""

    def __init__(self) -> None:
        self.resident_mib, self.held_mib, self.trims, self.keeps = 40, 0, 0, False
        self.memory_trim = MemoryTrim(lambda: self.held_mib * MIB, lambda: self.resident_mib * MIB, self._trim)

    def _trim(self) -> None:
        self.trims += 1
        if not self.keeps:
            self.resident_mib = 42 + self.held_mib

    def check(self, now_s: float, resident_mib: int, held_mib: int) -> int:
        self.resident_mib, self.held_mib = resident_mib, held_mib
        self.memory_trim.check(now_s)
        return self.trims


def test_what_clients_hold_is_not_trimmed_and_what_they_held_is() -> None:
    process = Process()
    assert process.check(0, 150, 100) == 0
    assert process.check(1, 150, 95) == 0
    assert process.check(2, 150, 80) == 1
    assert process.check(3, 122, 0) == 1  # not so soon
    assert process.check(2 + FIRST_PAUSE_S, 122, 0) == 2
    for number in range(2, 9):
        assert process.check(2 + number * FIRST_PAUSE_S, 40 + GROWN_BYTES // MIB - 1, 0) == 2


def test_memory_that_stays_is_looked_at_less_often() -> None:
    process = Process()
    process.keeps = True
    trims = [process.check(number, 100, 0) for number in range(200)]
    assert trims[-1] <= 200 / LAST_PAUSE_S + 2
    process.keeps = False  # its holder is gone
    process.check(200 + LAST_PAUSE_S, 100, 0)
    assert process.resident_mib == 42


def test_this_process_is_measured_and_trimmed() -> None:
    trim = memory_trim(lambda: 0)
    assert trim is not None  # glibc is what tests run with
    assert 10 * MIB < resident_bytes() < 10_000 * MIB
    trim._lowest_bytes = 0
    trim.check(0)
    assert trim._next_s > 0
