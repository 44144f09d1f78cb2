"""Which acknowledgement comes when, says what, and what one out of place does (MQTT 5.0 §4.3, MQTT 3.1.1 §4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
NO_MATCHING_SUBSCRIBERS, PROTOCOL_ERROR, NOT_AUTHORIZED = 0x10, 0x82, 0x87


def test_puback_follows_the_publishers_own_copy(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    both, topic = client(name()), name()
    both.subscribe((topic, 1))
    both.send(mqtt.publish(version, topic, b"x", qos=1, packet_id=9))
    assert mqtt.read_publish(version, both.receive()).payload == b"x"
    assert both.receive().type == mqtt.PUBACK


def test_pubrec_precedes_the_publishers_own_copy(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    both, topic = client(name()), name()
    both.subscribe((topic, 2))
    both.send(mqtt.publish(version, topic, b"x", qos=2, packet_id=9))
    assert both.receive().type == mqtt.PUBREC
    assert mqtt.read_publish(version, both.receive()).payload == b"x"


@only_5
def test_v5_puback_tells_that_nobody_subscribes(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """MQTT 5.0 §3.4.2.1: 0x10, as soon and as long as there is no subscription; the message is stored all the same."""
    publisher, subscriber, topic = client(name()), client(name()), name()
    assert publisher.publish(topic, b"1", qos=1) == NO_MATCHING_SUBSCRIBERS
    subscriber.subscribe((topic + "/#", 0))
    assert publisher.publish(topic, b"2", qos=1) == 0
    subscriber.unsubscribe(topic + "/#")
    assert publisher.publish(topic, b"3", qos=1) == NO_MATCHING_SUBSCRIBERS
    assert [each.payload for each in subscriber.receive_until_quiet(0.1)] == [b"2"]


@only_5
def test_v5_a_subscription_without_local_messages_is_one(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    both, topic = client(name()), name()
    both.subscribe((topic, 0x05))
    assert both.publish(topic, b"x", qos=1) == 0


class OutOfPlace(NamedTuple):
    """A delivery's QoS, the packets of a good exchange so far and the one that has no place in it."""

    qos: int
    good: tuple[int, ...]
    wrong: int


OUT_OF_PLACE = {
    "PUBREC of QoS 1": OutOfPlace(1, (), mqtt.PUBREC),
    "PUBCOMP of QoS 1": OutOfPlace(1, (), mqtt.PUBCOMP),
    "PUBACK of QoS 2": OutOfPlace(2, (), mqtt.PUBACK),
    "PUBCOMP before PUBREC": OutOfPlace(2, (), mqtt.PUBCOMP),
    "PUBACK behind PUBREC": OutOfPlace(2, (mqtt.PUBREC,), mqtt.PUBACK),
}


@pytest.mark.parametrize("is_lasting", [False, True], ids=["ends", "lasts"])
@pytest.mark.parametrize("case", OUT_OF_PLACE.values(), ids=OUT_OF_PLACE)
def test_an_acknowledgement_out_of_place_closes(
    open_client: Callable[..., RawClient],
    client: Callable[..., RawClient],
    name: Callable[[], str],
    version: int,
    case: OutOfPlace,
    is_lasting: bool,
) -> None:
    """[v3.1.1 MQTT-4.8.0-1], [v5 MQTT-4.13.1-1]; the message is not taken for acknowledged."""
    topic, client_id = name(), name()
    expiry = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if is_lasting and version == 5 else []
    subscriber = open_client()
    subscriber.connect(client_id, clean=not is_lasting, props=expiry)
    subscriber.subscribe((topic, case.qos))
    client(name()).publish(topic, b"x", qos=case.qos)
    packet_id = subscriber.receive_publish(acknowledge=False).packet_id
    for packet_type in case.good:
        subscriber.send(mqtt.acknowledgement(packet_type, packet_id))
        assert subscriber.receive().type == mqtt.PUBREL
    subscriber.send(mqtt.acknowledgement(case.wrong, packet_id))
    codes = [mqtt.read_disconnect(each) for each in subscriber.receive_until_closed()]
    assert codes == ([PROTOCOL_ERROR] if version == 5 else [])
    if is_lasting:
        again = open_client()
        again.connect(client_id, clean=False, props=expiry)
        assert again.receive().type == (mqtt.PUBREL if case.good else mqtt.PUBLISH)


def test_pubrec_again_is_answered_with_pubrel_again(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-4.3.3-1], [v5 MQTT-4.3.3-4]."""
    subscriber, topic = client(name()), name()
    subscriber.subscribe((topic, 2))
    client(name()).publish(topic, b"x", qos=2)
    packet_id = subscriber.receive_publish(acknowledge=False).packet_id
    for _ in range(2):
        subscriber.send(mqtt.acknowledgement(mqtt.PUBREC, packet_id))
        answer = subscriber.receive(mqtt.PUBREL)
        assert mqtt.read_acknowledgement(version, answer).packet_id == packet_id


def test_bridges_may_tell_their_state(client: Callable[..., RawClient], name: Callable[[], str], version: int) -> None:
    """A bridge of Mosquitto publishes there whether it is connected, with QoS 1 and retained, before all else."""
    bridge = client(name())
    bridge_topic = f"$SYS/broker/connection/{name()}/state"
    assert bridge.publish(bridge_topic, b"1", qos=1, retain=True) < 0x80
    bridge.ping()


@pytest.mark.parametrize("topic", ["$SYS/broker/uptime", "$SYS/broker/connection/a/b/state", "$share/group/topic"])
@only_5
def test_v5_topics_of_the_server_are_refused(
    client: Callable[..., RawClient], name: Callable[[], str], topic: str
) -> None:
    publisher = client(name())
    assert publisher.publish(topic, b"x", qos=1) == NOT_AUTHORIZED
    assert publisher.publish(topic, b"x", qos=2) == NOT_AUTHORIZED
    publisher.ping()
