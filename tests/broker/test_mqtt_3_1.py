"""Where MQTT 3.1 is not MQTT 3.1.1: its own specification, §3 (it numbers no statements)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

pytestmark = pytest.mark.parametrize("version", [3], ids=["3.1"])


def test_a_client_id_may_be_longer_than_23_characters(
    open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """§3.1 asks for a refusal that no other broker sends."""
    assert open_client().connect(name().ljust(24, "é")).code == 0


def test_the_reserved_byte_of_connack_is_zero(open_client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    client_id = name()
    for _ in range(2):  # the second time there is a session, which 3.1 cannot tell
        connection = open_client()
        connection.send(mqtt.connect(3, client_id, clean=False))
        assert connection.receive() == mqtt.Packet(mqtt.CONNACK, 0, b"\x00\x00")
        connection.disconnect()


def test_subscribe_is_always_acknowledged(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """§3.8: «it has no way of informing that client. It must therefore make a positive acknowledgement»."""
    subscriber, topic = client(name()), name()
    assert subscriber.subscribe((topic, 1), ("/" * 64, 2)) == (1, 2)


def test_flags_that_mean_nothing_are_not_looked_at(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """§2.1: DUP at QoS 0; DUP and RETAIN of packets that do not use them."""
    topic = name()
    both = client(name())
    both.send(mqtt.packet(mqtt.SUBSCRIBE, 0x0B, b"\x00\x01" + mqtt.text(topic) + b"\x01"))
    assert mqtt.read_acknowledgement(3, both.receive(mqtt.SUBACK)) == mqtt.Acknowledgement(1, (1,))
    both.send(mqtt.publish(3, topic, b"x", dup=True))
    received = both.receive(mqtt.PUBLISH)
    assert (received.flags, received.body) == (0, mqtt.text(topic) + b"x")
    both.send(mqtt.packet(mqtt.PINGREQ, 0x09))
    both.receive(mqtt.PINGRESP)
