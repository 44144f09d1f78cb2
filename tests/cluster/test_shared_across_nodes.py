"""Shared subscriptions over nodes: what becomes of a member's messages when its session ends elsewhere, or its node dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

    from tests.broker.broker_process import BrokerProcess

Pair = tuple["BrokerProcess", "BrokerProcess"]
At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
LASTING: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}


def numbers(client: RawClient) -> list[int]:
    return [int(each.payload) for each in client.receive_until_quiet()]


@pytest.mark.parametrize("qos", [1, 2])
def test_the_queue_of_a_member_that_begins_anew_at_another_node_goes_to_another_member(
    pair: Pair, at: At, name: Callable[[], str], qos: int
) -> None:
    """What it had not been sent, in order, and what it had been sent at QoS 1 [v5 MQTT-4.8.2-5]."""
    topic, client_id = name(), name()
    member = at(pair[0], client_id, clean=False, props=[*LASTING["props"], (mqtt.RECEIVE_MAXIMUM, 2)])
    member.subscribe((f"$share/group/{topic}", qos))
    with at(pair[1], name()) as publisher, at(pair[0], name()) as staying:
        for number in range(450):
            publisher.publish(topic, b"%d" % number, qos=qos)
        sent = [int(member.receive_publish(acknowledge=False).payload) for _ in range(2)]
        member.disconnect()
        staying.subscribe((f"$share/group/{topic}", qos))
        at(pair[1], client_id)
        assert numbers(staying) == [each for each in range(450) if qos == 1 or each not in sent]
