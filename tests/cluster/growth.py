"""Clients that come and go, and what the processes that serve them hold meanwhile.

Each visit is one of those that leave something behind for a while: a will that is published, a session that expires, a
queue that nobody takes, a connection that is taken over, a group that its members leave. Names come again and again,
so that nothing may grow with the number of visits.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mqtt_bytes as mqtt
from raw import RawClient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.cluster.chaos import Chaos

AT_ONCE = 4
NAMES = 20
EXPIRY_S = 1
SOON: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, EXPIRY_S)]}
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Held(NamedTuple):
    """What one process holds: resident memory and descriptors."""

    kib: int
    descriptors: int


def held(chaos: Chaos) -> dict[str, Held]:
    """Return what gateway, containers and their projectors hold, by name."""
    pids = {"gateway": chaos.gateway.process.pid}
    for number, pid in enumerate(chaos.gateway.container_pids, 1):
        pids[f"tcp-{number}"] = pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids.update({f"tcp-{number}'s child {place}": int(child) for place, child in enumerate(children, 1)})
    return {name: _held_by(pid) for name, pid in pids.items()}


def _held_by(pid: int) -> Held:
    kib = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB
    return Held(kib, len(list(Path(f"/proc/{pid}/fd").iterdir())))


class Visits:
    """Visits at one port, AT_ONCE at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._kinds = (self._converse, self._vanish, self._stay_away, self._take_over, self._begin_anew)

    def make(self, numbers: Iterable[int]) -> float:
        """Make these visits, and return how many seconds they took."""
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self._visit, numbers):
                pass
        return time.monotonic() - began

    def _visit(self, number: int) -> None:
        self._kinds[number % len(self._kinds)](f"visitor-{number % (NAMES * len(self._kinds))}")

    def _connected(self, client_id: str, **arguments: Any) -> RawClient:
        client = RawClient("127.0.0.1", self._port)
        assert client.connect(client_id, **arguments).code == 0
        return client

    def _converse(self, name: str) -> None:
        """Subscribe, alone and in a group, publish at each QoS, retain and take back; say goodbye."""
        with self._connected(name, will=mqtt.Will(name, b"never")) as client:
            client.subscribe((f"{name}/#", 2), (f"$share/group/{name}/#", 1))
            for qos in (0, 1, 2):
                client.publish(f"{name}/a", b"%d" % qos, qos=qos)
            for payload in (b"kept", b""):
                client.publish(f"{name}/retained", payload, qos=1, retain=True)
            for _ in range(10):
                client.receive_publish()
            client.disconnect()

    def _vanish(self, name: str) -> None:
        """Leave a will, and in a group what was not acknowledged."""
        with self._connected(name, will=mqtt.Will(f"{name}/will", b"gone", qos=1)) as client:
            client.subscribe((f"{name}/#", 1), (f"$share/group/{name}/#", 2))
            client.publish(f"{name}/a", qos=2)

    def _stay_away(self, name: str) -> None:
        """Leave a session that expires, with messages in its queue and a will that is due then."""
        will = mqtt.Will(f"{name}/will", b"gone", qos=1, properties=[(mqtt.WILL_DELAY_INTERVAL, 60)])
        with self._connected(name, will=will, **SOON) as client:
            client.subscribe((f"{name}/#", 1), (f"$share/group/{name}/#", 2))
        with self._connected(f"{name}-publisher") as publisher:
            for _ in range(5):
                publisher.publish(f"{name}/a", b"0" * 100, qos=2)
            publisher.disconnect()

    def _take_over(self, name: str) -> None:
        """Come a second time, to any node, while the first connection is open."""
        with self._connected(name, **SOON) as client:
            client.subscribe((f"{name}/#", 2))
            with self._connected(name, **SOON) as again:
                again.publish(f"{name}/a", qos=2)
                again.disconnect()

    def _begin_anew(self, name: str) -> None:
        """End a lasting session, with what it was sent and what it was not, by a new one."""
        with self._connected(name, **SOON) as client:
            client.subscribe((f"{name}/#", 2))
            for _ in range(3):
                client.publish(f"{name}/a", qos=2)
        with self._connected(name) as again:
            again.disconnect()
