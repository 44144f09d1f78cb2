"""What hypothesis draws: packets that the specification allows, for each type and version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st

from broker.wire.auth import Auth
from broker.wire.connack import Connack
from broker.wire.connect import Connect, Will
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import PacketType, ProtocolVersion
from broker.wire.ping import Pingreq, Pingresp
from broker.wire.properties import TABLE, Properties, Property, PropertyPlace
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.reason_codes import REASON_CODES_OF
from broker.wire.suback import Suback
from broker.wire.subscribe import Subscribe, Subscription
from broker.wire.unsuback import Unsuback
from broker.wire.unsubscribe import Unsubscribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.wire.codec import Packet

V3_1, V3_1_1, V5 = ProtocolVersion

few_examples = settings(max_examples=20, deadline=None)
"""Enough for a test that runs once for each kind and version; the machine may be busy."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
topic_names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+#"), min_size=1, max_size=20)
topic_filters = st.one_of(topic_names, st.sampled_from(["#", "+", "a/+/b", "a/#", "$share/g/+"]))
packet_ids = st.integers(1, 65_535)
payloads = st.binary(max_size=200)
qos_levels = st.integers(0, 2)

_VALUES = {
    "encode_byte": st.integers(0, 1),
    "encode_two_byte_integer": st.integers(1, 65_535),
    "encode_four_byte_integer": st.integers(1, 4_294_967_295),
    "encode_variable_byte_integer": st.integers(1, 268_435_455),
    "encode_binary_data": st.binary(max_size=20),
    "encode_utf8_string": texts,
    "encode_utf8_string_pair": st.tuples(texts, texts),
}


def value_of(row: Property, max_size: int = 3) -> st.SearchStrategy[Any]:
    """An allowed value of a property."""
    if row.name == "response_topic":
        return topic_names
    values: st.SearchStrategy[Any] = _VALUES[row.codec[1].__name__]
    return st.lists(values, min_size=1, max_size=max_size) if row.is_list else values


def properties_of(place: PropertyPlace) -> st.SearchStrategy[Properties]:
    """Any choice of the properties that may stand in a place."""
    values = {row.name: value_of(row, 3 if place in row.repeatable_in else 1) for row in TABLE if place in row.places}
    return st.fixed_dictionaries({}, optional=values)


def _properties(place: PropertyPlace, version: ProtocolVersion) -> st.SearchStrategy[Properties]:
    return properties_of(place) if version is V5 else st.just({})


def _connects(version: ProtocolVersion) -> st.SearchStrategy[Connect]:
    wills = st.builds(Will, topic_names, payloads, qos_levels, st.booleans(), _properties("WILL", version))
    credentials = st.one_of(
        st.tuples(st.none(), st.none() if version is not V5 else st.none() | payloads),
        st.tuples(names, st.none() | payloads),
    )
    return st.builds(
        lambda client_id, clean_start, keep_alive, will, credentials, properties: Connect(
            version, client_id, clean_start, keep_alive, will, *credentials, properties
        ),
        names,
        st.booleans(),
        st.integers(0, 65_535),
        st.none() | wills,
        credentials,
        _properties(PacketType.CONNECT, version).filter(
            lambda each: "authentication_method" in each or "authentication_data" not in each
        ),
    )


def _connacks(version: ProtocolVersion) -> st.SearchStrategy[Connack]:
    properties = _properties(PacketType.CONNACK, version)
    codes = sorted(REASON_CODES_OF[PacketType.CONNACK]) if version is V5 else range(6)
    refused = st.builds(Connack, st.just(False), st.sampled_from(codes), properties)
    accepted = st.builds(Connack, st.just(version is not V3_1), st.just(0), properties)
    return refused | accepted


def publishes(version: ProtocolVersion) -> st.SearchStrategy[Publish]:
    properties = _properties(PacketType.PUBLISH, version)
    at_most_once = st.builds(Publish, topic_names, payloads, is_retain=st.booleans(), properties=properties)
    others = st.builds(
        Publish, topic_names, payloads, st.integers(1, 2), st.booleans(), st.booleans(), packet_ids, properties
    )
    return at_most_once | others


def _acknowledgements(version: ProtocolVersion) -> st.SearchStrategy[Packet]:
    def of(kind: type[Puback | Pubrec | Pubrel | Pubcomp]) -> st.SearchStrategy[Packet]:
        codes = sorted(REASON_CODES_OF[kind.packet_type]) if version is V5 else [0]
        return st.builds(kind, packet_ids, st.sampled_from(codes), _properties(kind.packet_type, version))

    return st.one_of([of(kind) for kind in (Puback, Pubrec, Pubrel, Pubcomp)])


def _subscribes(version: ProtocolVersion) -> st.SearchStrategy[Subscribe]:
    if version is V5:
        subscriptions = st.builds(
            Subscription, topic_filters, qos_levels, st.booleans(), st.booleans(), st.integers(0, 2)
        ).filter(lambda each: not (each.is_no_local and each.topic_filter.startswith("$share/")))
    else:
        subscriptions = st.builds(Subscription, topic_filters, qos_levels)
    listed = st.lists(subscriptions, min_size=1, max_size=4)
    return st.builds(Subscribe, packet_ids, listed, _properties(PacketType.SUBSCRIBE, version))


def _subacks(version: ProtocolVersion) -> st.SearchStrategy[Suback]:
    codes = {V3_1: [0, 1, 2], V3_1_1: [0, 1, 2, 0x80], V5: sorted(REASON_CODES_OF[PacketType.SUBACK])}[version]
    listed = st.lists(st.sampled_from(codes), min_size=1, max_size=4)
    return st.builds(Suback, packet_ids, listed, _properties(PacketType.SUBACK, version))


def _unsubscribes(version: ProtocolVersion) -> st.SearchStrategy[Unsubscribe]:
    listed = st.lists(topic_filters, min_size=1, max_size=4)
    return st.builds(Unsubscribe, packet_ids, listed, _properties(PacketType.UNSUBSCRIBE, version))


def _unsubacks(version: ProtocolVersion) -> st.SearchStrategy[Unsuback]:
    if version is not V5:
        return st.builds(Unsuback, packet_ids)
    codes = st.lists(st.sampled_from(sorted(REASON_CODES_OF[PacketType.UNSUBACK])), min_size=1, max_size=4)
    return st.builds(Unsuback, packet_ids, codes, properties_of(PacketType.UNSUBACK))


def _endings(version: ProtocolVersion) -> st.SearchStrategy[Packet]:
    pings = st.sampled_from([Pingreq(), Pingresp()])
    if version is not V5:
        return st.one_of(pings, st.just(Disconnect()))
    disconnects = st.builds(
        Disconnect,
        st.sampled_from(sorted(REASON_CODES_OF[PacketType.DISCONNECT])),
        properties_of(PacketType.DISCONNECT),
    )
    auths = st.builds(Auth, st.sampled_from([0x00, 0x18, 0x19]), properties_of(PacketType.AUTH))
    return st.one_of(pings, disconnects, auths)


KINDS: dict[str, Callable[[ProtocolVersion], st.SearchStrategy[Any]]] = {
    "connect": _connects,
    "connack": _connacks,
    "publish": publishes,
    "acknowledgement": _acknowledgements,
    "subscribe": _subscribes,
    "suback": _subacks,
    "unsubscribe": _unsubscribes,
    "unsuback": _unsubacks,
    "ping, disconnect, auth": _endings,
}
