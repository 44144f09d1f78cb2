"""The load client: a process of its own that drives one broker and prints what it counted as JSON.

    python -m bench.load acknowledged PORT SECONDS CONNECTIONS IN_FLIGHT [MESSAGES_PER_S]
    python -m bench.load fan_out      PORT SECONDS PUBLISHERS SUBSCRIBERS
    python -m bench.load visits       PORT SECONDS AT_ONCE
    python -m bench.load pings        PORT SECONDS CONNECTIONS PINGS_PER_S
    python -m bench.load idle         PORT SECONDS CONNECTIONS

It says `ready` when what it counts begins. It must cost less than any broker it measures: packets are encoded beforehand
and answers are counted by their bytes, which is exact because every answer of a scenario has the same length.
"""

from __future__ import annotations

import asyncio
import itertools
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


class Requester(Device):
    """Keeps all of `requests` unanswered; sends the next for each answer while `is_sending`."""

    def __init__(self, number: int, requests: list[bytes], answer_bytes: int) -> None:
        super().__init__(packets.connect(f"bench-{number}"), packets.CONNACK_BYTES)
        self._turns = requests * 2  # any window of the cycle is one slice
        self._in_flight = len(requests)
        self._answer_bytes = answer_bytes
        self._answered = 0
        self.sent = 0
        self.is_sending = False

    def send(self, count: int) -> None:
        """Send the next `count` requests, at most the window."""
        start = self.sent % self._in_flight
        self.transport.write(b"".join(self._turns[start : start + count]))
        self.sent += count

    def on_bytes(self) -> None:
        """Count answers and refill the window."""
        answered = self.bytes_received // self._answer_bytes
        freed, self._answered = answered - self._answered, answered
        if self.is_sending and freed:
            self.send(freed)

    @property
    def answered(self) -> int:
        """Answers received."""
        return self._answered

    @property
    def free(self) -> int:
        """Requests that may be sent now."""
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
    return await _answers([_publisher(number, in_flight) for number in range(connections)], port, seconds, per_s)


def _publisher(number: int, in_flight: int) -> Requester:
    topic_name = f"devices/bench-{number}/telemetry"
    publishes = [packets.publish_qos_1(topic_name, each + 1) for each in range(in_flight)]
    return Requester(number, publishes, packets.ACKNOWLEDGEMENT_BYTES)


async def pings(port: int, seconds: float, connections: int, per_s: int) -> dict[str, float]:
    """Count PINGREQs that are answered, `per_s` over all connections."""
    clients = [Requester(number, [packets.PINGREQ], packets.PINGRESP_BYTES) for number in range(connections)]
    return await _answers(clients, port, seconds, per_s)


async def _answers(requesters: list[Requester], port: int, seconds: float, per_s: int) -> dict[str, float]:
    for requester in requesters:
        await _open(port, requester)
    load = asyncio.create_task(_paced(requesters, per_s) if per_s else _flat_out(requesters))
    opened = time.perf_counter()
    await asyncio.sleep(WARM_UP_S)
    warm, began = _total(requesters), time.perf_counter()
    _say_ready()
    await asyncio.sleep(seconds)
    counted, ended = _total(requesters) - warm, time.perf_counter()
    load.cancel()
    await _drain(requesters)
    return {
        "counted": counted,
        "per_s": counted / (ended - began),
        "unanswered": sum(requester.sent - requester.answered for requester in requesters),
        "total": _total(requesters),
        "total_seconds": time.perf_counter() - opened,
    }


def _say_ready() -> None:
    print("ready", flush=True)


def _total(requesters: list[Requester]) -> int:
    return sum(requester.answered for requester in requesters)


async def _flat_out(requesters: list[Requester]) -> None:
    for requester in requesters:
        requester.is_sending = True
        requester.send(requester.free)


async def _paced(requesters: list[Requester], per_s: int) -> None:
    began, sent = time.perf_counter(), 0
    while True:
        while sent < (time.perf_counter() - began) * per_s:
            requester = requesters[sent % len(requesters)]
            if requester.free:
                requester.send(1)
            sent += 1
        await asyncio.sleep(PACE_S)


async def _drain(requesters: list[Requester]) -> None:
    for requester in requesters:
        requester.is_sending = False
    for _ in range(int(STALL_S / PACE_S)):
        if all(requester.sent == requester.answered for requester in requesters):
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
    _say_ready()
    stalled = await _watch(receivers, seconds)
    counted, elapsed = sum(receiver.received for receiver in receivers) - warm, time.perf_counter() - began
    return {"counted": counted, "per_s": counted / elapsed, "stalled": stalled}


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


async def visits(port: int, seconds: float, at_once: int) -> dict[str, float]:
    """Count clients that connect, subscribe to a topic of their own, and disconnect, `at_once` at a time."""
    numbers, left = itertools.count(), 0

    async def come_and_go() -> None:
        nonlocal left
        while True:
            number = next(numbers)
            visitor = Subscriber(number, f"commands/{number}/#", 1)
            await _open(port, visitor)
            visitor.transport.write(packets.DISCONNECT)
            visitor.transport.close()
            left += 1

    load = asyncio.gather(*(come_and_go() for _ in range(at_once)))
    await asyncio.wait([load], timeout=WARM_UP_S)
    warm, began = left, time.perf_counter()
    _say_ready()
    await asyncio.wait([load], timeout=seconds)
    counted, elapsed = left - warm, time.perf_counter() - began
    if load.done():
        await load  # whatever ended it
    load.cancel()
    return {"counted": counted, "per_s": counted / elapsed}


async def idle(port: int, seconds: float, connections: int) -> dict[str, float]:
    """Hold connections with one subscription each, until stdin ends."""
    for number in range(connections):
        await _open(port, Subscriber(number, f"commands/{number}/#", 1))
    await asyncio.sleep(seconds)
    _say_ready()
    await asyncio.to_thread(sys.stdin.read)
    return {"connections": connections}


SCENARIOS: dict[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "acknowledged": acknowledged,
    "fan_out": fan_out,
    "visits": visits,
    "pings": pings,
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
