"""`python -m bench.queue`: messages queued for one session that is away, against messages delivered live.

A session that lasts receives QoS 1 messages as they are published (live), then goes away while as many are queued; the
broker is killed and started anew, and the session comes back for them. Both times what arrives has to be all of it, in
order. Printed are both rates and their ratio.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from bench import packets
from bench.brokers import HOST, Broker, Ours

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST = 200
TIMEOUT_S = 60.0
TOPIC = "devices/bench/telemetry"
CLIENT_ID = "bench-queue"


class LastingBroker(Ours):
    """Our broker with room for the queue; `kill` and `start_again` leave its store as it is."""

    def __init__(self, messages: int) -> None:
        super().__init__()
        self._messages = messages

    def _environ(self) -> dict[str, str]:
        room = {"QUEUE_MESSAGES": str(self._messages), "QUEUE_BYTES": str(1 << 30)}
        return {**super()._environ(), **room}

    def restart(self) -> None:
        """Kill the broker's process and start another one on the same store."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        Broker.start(self)


class Connection:
    """A blocking MQTT 3.1.1 connection, counted by bytes where that is exact."""

    def __init__(self, port: int, hello: bytes, answer_bytes: int) -> None:
        self._socket = socket.create_connection((HOST, port), TIMEOUT_S)
        self._socket.sendall(hello)
        self._unread = b""
        self._take(answer_bytes)

    def publish(self, numbers: range) -> None:
        """Publish BURST messages at a time at QoS 1, the next when those are acknowledged."""
        for start in numbers[::BURST]:
            burst = range(start, min(start + BURST, numbers.stop))
            self._socket.sendall(b"".join(packets.publish_number(TOPIC, each) for each in burst))
            self._take(packets.ACKNOWLEDGEMENT_BYTES * len(burst))

    def receive(self, count: int) -> Iterator[int]:
        """Yield the numbers of `count` messages, and acknowledge them."""
        while count:
            whole, self._unread = packets.split_publishes(self._unread)
            if not whole:
                self._unread += self._read()
            self._socket.sendall(b"".join(acknowledgement for _, acknowledgement in whole))
            count -= len(whole)
            yield from (number for number, _ in whole)

    def close(self) -> None:
        """Close without DISCONNECT, as a lost network does."""
        self._socket.close()

    def _take(self, count: int) -> None:
        while len(self._unread) < count:
            self._unread += self._read()
        self._unread = self._unread[count:]

    def _read(self) -> bytes:
        received = self._socket.recv(1 << 18)
        if not received:
            raise ConnectionError("closed by the broker")
        return received


def _subscriber(port: int, *, is_new: bool) -> Connection:
    hello = packets.connect(CLIENT_ID, is_clean=False)
    if not is_new:
        return Connection(port, hello, packets.CONNACK_BYTES)
    return Connection(port, hello + packets.subscribe(TOPIC, qos=1), packets.CONNACK_BYTES + packets.SUBACK_BYTES)


def _rate(subscriber: Connection, expected: range) -> float:
    began = time.perf_counter()
    for wanted, number in zip(expected, subscriber.receive(len(expected)), strict=True):
        if wanted != number:
            raise SystemExit(f"message {number} arrived where {wanted} was next")
    return len(expected) / (time.perf_counter() - began)


def measure(messages: int) -> tuple[float, float]:
    """Return the rates, in messages/s, of live delivery and of a queue after a kill."""
    broker = LastingBroker(messages)
    broker.start()
    try:
        live, queued = range(messages), range(messages, 2 * messages)
        subscriber = _subscriber(broker.port, is_new=True)
        publisher = Connection(broker.port, packets.connect("bench-publisher"), packets.CONNACK_BYTES)
        publishing = threading.Thread(target=publisher.publish, args=(live,))
        publishing.start()
        live_rate = _rate(subscriber, live)
        publishing.join()
        subscriber.close()
        publisher.publish(queued)
        publisher.close()
        broker.restart()
        return live_rate, _rate(_subscriber(broker.port, is_new=False), queued)
    finally:
        broker.stop()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.queue", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="messages queued (default: %(default)s)")
    live_rate, queued_rate = measure(parser.parse_args().messages)
    print(f"live {live_rate:,.0f}/s, queued {queued_rate:,.0f}/s, in order; ratio {queued_rate / live_rate:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
