"""The load client: a process of its own that drives one broker and prints what it counted as JSON.

    python -m bench.load acknowledged PORT SECONDS CONNECTIONS IN_FLIGHT [MESSAGES_PER_S]
    python -m bench.load fan_out      PORT SECONDS PUBLISHERS SUBSCRIBERS
    python -m bench.load idle         PORT SECONDS CONNECTIONS

It must cost less than any broker it measures: packets are encoded beforehand and answers are counted by their bytes,
which is exact because every answer of a scenario has the same length.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, cast

import uvloop

from bench import packets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
FAN_OUT_WINDOW = 1_000  # messages sent and not yet received by every subscriber
FAN_OUT_CHUNK = 50
STALL_S = 2.0
WARM_UP_S = 1.0  # not counted: just-in-time compilers and caches get ready
PACE_S = 0.01


class Device(asyncio.Protocol):
    """One connection: after its handshake, bytes received are counted and told to `on_bytes`."""

    def __init__(self, hello: bytes, hello_answer_bytes: int) -> None:
        self._hello = hello
        self._handshake_left = hello_answer_bytes
        self.is_ready = asyncio.get_running_loop().create_future()
        self.bytes_received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT, and SUBSCRIBE where there is one."""
        self.transport = cast("asyncio.WriteTransport", transport)
        self.transport = cast("asyncio.WriteTransport", transport)
        self.transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the handshake when it was not done."""
        if not self.is_ready.done():
            self.is_ready.set_exception(exc or ConnectionError("closed by the broker"))

    def data_received(self, data: bytes) -> None:
        """Count bytes; the first ones answer the handshake."""
        taken = min(self._handshake_left, len(data))
        self._handshake_left -= taken
        if taken and not self._handshake_left:
            self.is_ready.set_result(None)
        if len(data) > taken:
            self.bytes_received += len(data) - taken
            self.on_bytes()

    def on_bytes(self) -> None:
        """Called after each read; `bytes_received` has grown."""


class Publisher(Device):
    """Keeps `in_flight` QoS 1 messages unacknowledged; sends one for each PUBACK while `is_sending`."""

    def __init__(self, number: int, in_flight: int) -> None:
        super().__init__(packets.connect(f"bench-{number}"), packets.CONNACK_BYTES)
        one_turn = [packets.publish_qos_1(f"devices/bench-{number}/telemetry", each + 1) for each in range(in_flight)]
        self._turns = one_turn * 2  # any window of the cycle is one slice
        self._in_flight = in_flight
        self._answered = 0
        self.sent = 0
        self.is_sending = False

    def send(self, count: int) -> None:
        """Send the next `count` messages, at most the window."""
        start = self.sent % self._in_flight
        self.transport.write(b"".join(self._turns[start : start + count]))
        self.sent += count

    def on_bytes(self) -> None:
        """Count acknowledgements and refill the window."""
        answered = self.bytes_received // packets.ACKNOWLEDGEMENT_BYTES
        freed, self._answered = answered - self._answered, answered
        if self.is_sending and freed:
            self.send(freed)

    @property
    def acknowledged(self) -> int:
        """PUBACKs received."""
        return self._answered

    @property
    def free(self) -> int:
        """Messages that may be sent now."""
        return self._in_flight - (self.sent - self._answered)


class Subscriber(Device):
    """Counts deliveries of packets of one length and tells `on_delivery`."""

    def __init__(self, number: int, topic_filter: str, packet_bytes: int) -> None:
        hello = packets.connect(f"bench-s-{number}") + packets.subscribe(topic_filter)
        super().__init__(hello, packets.CONNACK_BYTES + packets.SUBACK_BYTES)
        self._packet_bytes = packet_bytes
        self.on_delivery: Callable[[], None] = _do_nothing

    def on_bytes(self) -> None:
        """Tell that more has come."""
        self.on_delivery()

    @property
    def received(self) -> int:
        """Whole packets received."""
        return self.bytes_received // self._packet_bytes


def _do_nothing() -> None:
    pass


async def _open(port: int, device: Device) -> None:
    await asyncio.get_running_loop().create_connection(lambda: device, HOST, port)
    await asyncio.wait_for(device.is_ready, 10)


async def acknowledged(port: int, seconds: float, connections: int, in_flight: int, per_s: int = 0) -> dict[str, float]:
    """Count QoS 1 messages acknowledged: as many as go, or `per_s` over all connections."""
    publishers = [Publisher(number, in_flight) for number in range(connections)]
    for publisher in publishers:
        await _open(port, publisher)
    load = asyncio.create_task(_paced(publishers, per_s) if per_s else _flat_out(publishers))
    opened = time.perf_counter()
    await asyncio.sleep(WARM_UP_S)
    warm, began = _total(publishers), time.perf_counter()
    await asyncio.sleep(seconds)
    counted, ended = _total(publishers) - warm, time.perf_counter()
    load.cancel()
    await _drain(publishers)
    return {
        "messages": counted,
        "per_s": counted / (ended - began),
        "unanswered": sum(publisher.sent - publisher.acknowledged for publisher in publishers),
        "total": _total(publishers),
        "total_seconds": time.perf_counter() - opened,
    }


def _total(publishers: list[Publisher]) -> int:
    return sum(publisher.acknowledged for publisher in publishers)


async def _flat_out(publishers: list[Publisher]) -> None:
    for publisher in publishers:
        publisher.is_sending = True
        publisher.send(publisher.free)


async def _paced(publishers: list[Publisher], per_s: int) -> None:
    began, sent = time.perf_counter(), 0
    while True:
        while sent < (time.perf_counter() - began) * per_s:
            publisher = publishers[sent % len(publishers)]
            if publisher.free:
                publisher.send(1)
            sent += 1
        await asyncio.sleep(PACE_S)


async def _drain(publishers: list[Publisher]) -> None:
    for publisher in publishers:
        publisher.is_sending = False
    for _ in range(int(STALL_S / PACE_S)):
        if all(publisher.sent == publisher.acknowledged for publisher in publishers):
            return
        await asyncio.sleep(PACE_S)


async def fan_out(port: int, seconds: float, publishers: int, subscribers: int) -> dict[str, float]:
    """Count QoS 0 deliveries from every publisher to every subscriber, never more than a window under way."""
    chunks = [
        b"".join(packets.publish_qos_0(f"devices/{number}/t", each) for each in range(FAN_OUT_CHUNK))
        for number in range(publishers)
    ]
    receivers = [Subscriber(number, "devices/#", len(chunks[0]) // FAN_OUT_CHUNK) for number in range(subscribers)]
    senders = [Device(packets.connect(f"bench-p-{number}"), packets.CONNACK_BYTES) for number in range(publishers)]
    for device in (*receivers, *senders):
        await _open(port, device)
    sent_chunks = 0

    def send_more() -> None:
        nonlocal sent_chunks
        slowest = min(receiver.received for receiver in receivers)
        while sent_chunks * FAN_OUT_CHUNK - slowest < FAN_OUT_WINDOW:
            turn = sent_chunks % publishers
            senders[turn].transport.write(chunks[turn])
            sent_chunks += 1

    for receiver in receivers:
        receiver.on_delivery = send_more
    send_more()
    await asyncio.sleep(WARM_UP_S)
    warm, began = sum(receiver.received for receiver in receivers), time.perf_counter()
    stalled = await _watch(receivers, seconds)
    counted, elapsed = sum(receiver.received for receiver in receivers) - warm, time.perf_counter() - began
    return {"messages": counted, "per_s": counted / elapsed, "stalled": stalled}


async def _watch(receivers: list[Subscriber], seconds: float) -> bool:
    """Wait `seconds`; return True at once when no subscriber has received anything for STALL_S: messages were lost."""
    end, last, last_at = time.perf_counter() + seconds, -1, time.perf_counter()
    while (now := time.perf_counter()) < end:
        await asyncio.sleep(0.05)
        counted = sum(receiver.received for receiver in receivers)
        if counted != last:
            last, last_at = counted, now
        elif now - last_at > STALL_S:
            return True
    return False


async def idle(port: int, seconds: float, connections: int) -> dict[str, float]:
    """Hold connections with one subscription each; say `ready` on stdout, and end when stdin does."""
    for number in range(connections):
        await _open(port, Subscriber(number, f"commands/{number}/#", 1))
    await asyncio.sleep(seconds)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    return {"connections": connections}


SCENARIOS: dict[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "acknowledged": acknowledged,
    "fan_out": fan_out,
    "idle": idle,
}


async def _run(scenario: str, port: int, seconds: float, *numbers: int) -> dict[str, float]:
    return await SCENARIOS[scenario](port, seconds, *numbers)


def main(arguments: list[str]) -> None:
    scenario, port, seconds, *numbers = arguments
    counted = uvloop.run(_run(scenario, int(port), float(seconds), *map(int, numbers)))
    print(json.dumps(counted))


if __name__ == "__main__":
    main(sys.argv[1:])
