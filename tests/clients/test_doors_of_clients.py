"""Every client comes through every door it knows: TLS, WebSocket, and WebSocket inside TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from foreign_client import PASSWORD, USERNAME
from foreign_clients import THROUGH_DOORS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from foreign_client import ForeignClient

    from tests.net.certificates import Authority


@pytest.mark.parametrize(("kind", "door"), THROUGH_DOORS, ids=str)
def test_a_door_carries_everything(
    kind: Kind, door: str, connected: Callable[..., ForeignClient], name: Callable[[], str], authority: Authority
) -> None:
    topic = name()
    trusted = authority.own.certificate if door in ("tls", "wss") else None
    client = connected(kind, door=door, authority=trusted, username=USERNAME, password=PASSWORD)
    outside = connected(Kind("paho", 5))
    client.subscribe(topic, 2)
    for qos, payload in enumerate((b"", b"x", b"\x00\xff" * 100_000)):
        client.publish(topic, payload, qos)
        outside.publish(topic, payload, qos)
        assert [(each.payload, each.qos) for each in client.take(2)] == [(payload, qos)] * 2
