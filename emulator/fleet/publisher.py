"""One connection that publishes, for itself or as a field gateway for many devices, and echoes their commands.

What cannot be sent at once is kept, up to a bound, and sent in the order it was made when the connection is back.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.enums import MQTTErrorCode

from emulator.fleet.connection import Connection
from emulator.fleet.ledger import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from emulator.fleet.client import Endpoint
    from emulator.fleet.ledger import Kind, Ledger, Track
    from emulator.fleet.observer import Observer
    from emulator.fleet.scenario import Group
    from emulator.fleet.totals import Totals

COMMAND_QOS = 2  # what commands are subscribed with: they come as they were published
FILTERS_AT_ONCE = 100


class Waiting(NamedTuple):
    """A message that was made and not sent yet."""

    track: Track
    number: int
    payload: bytes
    is_retain: bool = False


class Publisher(Connection):
    """Publishes to devices/ID/telemetry for its devices; its own presence, retained and as a will, to devices/ID/status.

    A command on devices/ID/commands/NAME comes back, as it is, on devices/ID/answers/NAME.
    """

    def __init__(
        self, client_id: str, device_ids: Iterable[str], group: Group, seed: int, endpoint: Endpoint, books: Books
    ) -> None:
        super().__init__(client_id, endpoint, seed, is_persistent=group.is_persistent)
        self.device_ids = list(device_ids)
        self.is_subscribed = False
        self._group = group
        self._ledger, self._totals, self._commands_seen = books
        self._waiting: deque[Waiting] = deque()
        self._unfinished: dict[int, tuple[Track, int, float]] = {}  # packet id -> what it carries, and when it was sent
        self._status = self._track(client_id, "status", f"devices/{client_id}/status")
        self._will = self._track(client_id, "will", f"devices/{client_id}/status")
        self._is_saying_goodbye = False
        self._client.on_subscribe = self._on_subscribed

    @property
    def has_room(self) -> bool:
        """Whether another message can be sent now, or kept."""
        return (self._can_send and not self._waiting) or len(self._waiting) < self._group.buffer

    @property
    def unsettled(self) -> int:
        """How many messages wait to be sent or answered."""
        return len(self._waiting) + (len(self._unfinished) if self._group.qos else 0)

    def telemetry_of(self, device_id: str) -> Track:
        """Return the track of a device's readings."""
        return self._track(device_id, "telemetry", f"devices/{device_id}/telemetry")

    def publish(self, track: Track, payload_of: Callable[[int], bytes]) -> None:
        """Make the next message of a track, and send it now or later; skip it where there is no room.

        Who does not belong to the fleet at the time makes none.
        """
        if self._is_leaving:
            return
        if not self.has_room:
            self._totals.skipped += 1
            return
        payload = payload_of(track.next)
        self._waiting.append(Waiting(track, self._ledger.make(track, payload), payload))
        if not self._can_send:
            self._totals.forwarded += 1
        self._pump()

    def say_goodbye(self) -> None:
        """Publish that the connection will end; it stays until `leave()`."""
        self._is_saying_goodbye = True
        if self.is_connected:
            self._publish_status(is_online=False)

    async def step_out(self) -> None:
        """Leave the fleet for a while: goodbye, and DISCONNECT. The session stays, if it is a lasting one."""
        self.say_goodbye()
        await self.leave(ends_session=False)

    def step_aside(self) -> None:
        """Do not belong to the fleet yet."""
        self._is_saying_goodbye = self._is_leaving = True
        self._want()
        self.attempted.set()
        if self.is_connected:  # the first of the fleet, which has tried whether there is a broker
            self._client.leave(ends_session=False)

    def step_in(self) -> None:
        """Belong to the fleet again."""
        self._is_saying_goodbye = self._is_leaving = False
        self._want()
        self.hurry()

    def _will_opens(self) -> None:
        payload = b'{"online":false,"will":%d}' % self._will.next
        number = self._ledger.make(self._will, payload)
        self._ledger.note_sent(self._will, number)
        self._client.will_set(self._will.source.topic_name, payload, self._group.qos, retain=True)

    def _opened(self, *, is_session_present: bool) -> None:
        if self.connections > 1:
            self._totals.note_return(*self.last_absence_s)
        is_lost = self.is_persistent and self.connections > 1 and not is_session_present
        self._totals.sessions_lost += is_lost
        if not is_session_present:
            self._subscribe()
        if not self._is_saying_goodbye:
            self._publish_status(is_online=True)
        self._pump()

    def _closed(self, *, is_orderly: bool) -> None:
        if not is_orderly:
            self._ledger.note_acknowledged(self._will, self._will.made)
        if self._group.qos == 0:
            self._unfinished.clear()  # paho sends only QoS 1 and 2 again

    def _answered(self, packet_id: int, *, is_failure: bool) -> None:
        track, number, sent_at_s = self._unfinished.pop(packet_id, (None, 0, 0.0))
        if track is not None and self._group.qos > 0:
            self._totals.note_answer((time.monotonic() - sent_at_s) * 1000, is_failure=is_failure)
            if not is_failure:
                self._ledger.note_acknowledged(track, number)
        self._pump()

    def _received(self, topic_name: str, payload: bytes, *, is_retain: bool) -> None:
        if is_retain:
            return
        self._commands_seen.note(topic_name, payload)
        _, device_id, _, name = topic_name.split("/", 3)
        answers = self._track(device_id, "answer", f"devices/{device_id}/answers/{name}")
        self.publish(answers, lambda _: payload)

    def _on_subscribed(self, *_details: object) -> None:
        self.is_subscribed = True

    def _subscribe(self) -> None:
        filters = [(f"devices/{device_id}/commands/+", COMMAND_QOS) for device_id in self.device_ids]
        for start in range(0, len(filters), FILTERS_AT_ONCE):
            self._client.subscribe(filters[start : start + FILTERS_AT_ONCE])

    def _publish_status(self, *, is_online: bool) -> None:
        payload = b'{"online":%s,"seq":%d}' % (b"true" if is_online else b"false", self._status.next)
        self._waiting.append(Waiting(self._status, self._ledger.make(self._status, payload), payload, is_retain=True))
        self._pump()

    @property
    def _can_send(self) -> bool:
        return self.is_connected and len(self._unfinished) < min(self._group.window, self.receive_maximum)

    def _pump(self) -> None:
        while self._waiting and self._can_send:
            self._send(self._waiting.popleft())

    def _send(self, message: Waiting) -> None:
        qos = self._group.qos
        info = self._client.publish(message.track.source.topic_name, message.payload, qos, message.is_retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS and qos == 0:
            self._totals.skipped += 1
            return
        self._unfinished[info.mid] = (message.track, message.number, time.monotonic())
        self._ledger.note_sent(message.track, message.number)
        self._totals.note_sent(is_awaited=qos > 0)

    def _track(self, device_id: str, kind: Kind, topic_name: str) -> Track:
        qos = self._group.qos
        is_once = qos == 2 and self.is_persistent and kind != "will"
        return self._ledger.track(Source(topic_name, device_id, self.client_id, qos, kind, is_once))


class Books(NamedTuple):
    """Where a publisher writes down what it does, and which commands it got."""

    ledger: Ledger
    totals: Totals
    commands_seen: Observer
