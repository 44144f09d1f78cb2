"""A device that does nothing wrong: it publishes on a steady beat, and a subscriber waits for what it published.

The beat does not wait for answers: a publish is due at its time, and its latency counts from then until PUBACK, over
reconnects too. Runs in a process of its own, so that the attacker's work does not delay it.
"""

from __future__ import annotations

import select
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from emulator.hostile import packets
from emulator.hostile.client import Client, ServiceError
from emulator.hostile.latencies import Seen
from emulator.hostile.packets import V5

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from emulator.hostile.target import Target

BEAT_S = 0.1
LAST_ANSWERS_S = 10.0
RETRY_S = 0.2
TOPIC = "devices/bystander/telemetry"
MAX_UNDER_WAY = 20  # below any Receive Maximum


class Bystander:
    """Publisher and subscriber. Raises ServiceError when they cannot connect at first."""

    def __init__(self, target: Target) -> None:
        self.seen = Seen()
        self._target = target
        self._payloads = count(1)
        self._packet_ids = count(1)
        self._waiting: dict[int, tuple[float, bytes]] = {}  # number -> due at, payload; not acknowledged
        self._under_way: dict[int, int] = {}  # packet identifier -> number
        self._acknowledged: set[bytes] = set()
        self._received: set[bytes] = set()
        self._subscriber: Client | None = self._connect_subscriber()
        self._publisher: Client | None = self._connect_publisher()
        self._retry_s = 0.0

    def run(self, parent: Connection) -> None:
        """Publish until the parent says something or has gone; then wait for the last answers."""
        due_s = time.monotonic()
        with suppress(EOFError):
            while not parent.poll():
                now_s = time.monotonic()
                while due_s <= now_s:
                    self._waiting[next(self._payloads)] = (due_s, b"%f" % due_s)
                    due_s += BEAT_S
                self._step(max(0.0, due_s - time.monotonic()))
        until_s = time.monotonic() + LAST_ANSWERS_S
        while time.monotonic() < until_s and (self._waiting or self._acknowledged - self._received):
            self._step(0.1)
        self._conclude()

    def _step(self, timeout_s: float) -> None:
        if self._publisher is None or self._subscriber is None:
            self._reconnect(timeout_s)
            return
        self._send_due()
        while self._subscriber.messages:  # some may have come with CONNACK
            self._received.add(self._subscriber.messages.popleft().payload)
        clients = [each for each in (self._publisher, self._subscriber) if each]
        readable, _, _ = select.select([each.socket for each in clients], [], [], timeout_s)
        for client in clients:
            if client.socket in readable:
                self._read(client)

    def _send_due(self) -> None:
        sent = set(self._under_way.values())
        for number in list(self._waiting):
            if len(self._under_way) >= MAX_UNDER_WAY or self._publisher is None:
                return
            if number not in sent:
                self._send(number)

    def _send(self, number: int) -> None:
        packet_id = next(self._packet_ids) % 60_000 + 1
        self._under_way[packet_id] = number
        payload = self._waiting[number][1]
        publisher = self._publisher
        if publisher is not None:
            try:
                publisher.send(packets.publish(TOPIC.encode(), payload, qos=1, packet_id=packet_id, version=V5))
            except ServiceError as error:
                self._lose(publisher, str(error))

    def _read(self, client: Client) -> None:
        try:
            for first, body in client.pump():
                if first >> 4 == packets.PUBACK:
                    self._answered(int.from_bytes(body[:2], "big"), body[2] if len(body) > 2 else 0)
        except ServiceError as error:
            self._lose(client, str(error))

    def _answered(self, packet_id: int, reason_code: int) -> None:
        number = self._under_way.pop(packet_id, None)
        if number is None:
            return
        if reason_code >= 0x80:
            self.seen.cuts.append(f"PUBACK 0x{reason_code:02X}")  # it is sent again
            return
        due_s, payload = self._waiting.pop(number)
        self.seen.latencies_s.append(time.monotonic() - due_s)
        self._acknowledged.add(payload)

    def _lose(self, client: Client, why: str) -> None:
        client.close()
        if client is self._publisher:
            self._publisher = None
            self._under_way.clear()
            self.seen.cuts.append(f"publisher: {why}")
        elif client is self._subscriber:
            self._subscriber = None
            self.seen.cuts.append(f"subscriber: {why}")

    def _reconnect(self, timeout_s: float) -> None:
        now_s = time.monotonic()
        if now_s < self._retry_s:
            time.sleep(min(timeout_s, self._retry_s - now_s))
            return
        with suppress(ServiceError):
            self._subscriber = self._subscriber or self._connect_subscriber()
            self._publisher = self._publisher or self._connect_publisher()
        self._retry_s = time.monotonic() + RETRY_S

    def _connect_subscriber(self) -> Client:
        client = Client(self._target, "bystander-subscriber", is_clean=False, expiry_s=600)
        if not client.is_session_present:
            client.subscribe(TOPIC, 1)
        return client

    def _connect_publisher(self) -> Client:
        return Client(self._target, "bystander")

    def _conclude(self) -> None:
        now_s = time.monotonic()
        self.seen.unanswered = len(self._waiting)
        self.seen.latencies_s += [now_s - due_s for due_s, _ in self._waiting.values()]
        self.seen.missing = len(self._acknowledged - self._received)
        for client in (self._publisher, self._subscriber):
            if client is not None:
                client.leave()
