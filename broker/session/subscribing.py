"""SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8-§3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.routing.shared_subscription import parse_shared
from broker.routing.subscription_tree import SubscriptionOptions
from broker.routing.topic_filter import is_valid_topic_filter
from broker.session.retained_lookup import RetainedLookup
from broker.wire.packet_types import ProtocolVersion
from broker.wire.reason_codes import ReasonCode
from broker.wire.suback import Suback
from broker.wire.unsuback import Unsuback

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.session.client import Client
    from broker.session.message_broker import MessageBroker
    from broker.session.retained_lookup import Granted
    from broker.session.session import Session
    from broker.wire.subscribe import Subscribe, Subscription
    from broker.wire.unsubscribe import Unsubscribe

NO_MEMORY = ReasonCode.QUOTA_EXCEEDED


def subscribe(
    client: Client, broker: MessageBroker, session: Session, packet: Subscribe, not_authorized: Collection[str] = ()
) -> None:
    """Subscribe at once; SUBACK follows when all nodes know of it, and the store, retained messages behind that.

    `not_authorized`: the topic filters that plugins refuse.
    """
    identifier = packet.properties.get("subscription_identifier", [0])[0]
    codes: list[int] = []
    wants_retained: list[Granted] = []
    for wanted in packet.subscriptions:
        options = SubscriptionOptions(
            wanted.qos, wanted.is_no_local, wanted.retain_as_published, wanted.retain_handling, identifier
        )
        refusal = _refusal(broker, session, wanted, not_authorized)
        is_new = None if refusal is not None else broker.sessions.subscribe(session, wanted.topic_filter, options)
        if is_new is None:
            codes.append(_code_of(client, wanted, refusal or NO_MEMORY))
            continue
        codes.append(wanted.qos)
        if client.plugins is not None:
            client.plugins.subscribed(wanted.topic_filter, wanted.qos)
        is_shared = parse_shared(wanted.topic_filter) is not None  # gets no retained messages: §4.8.2
        if not is_shared and (wanted.retain_handling == 0 or (wanted.retain_handling == 1 and is_new)):
            wants_retained.append((wanted.topic_filter, options))
    lookup = RetainedLookup()
    if wants_retained:
        client.begin_lookup(lookup)

    def stored() -> None:
        if wants_retained:
            client.end_lookup(lookup)
        if not client.is_closing:
            client.answer(Suback(packet.packet_id, codes))
            if wants_retained:
                client.send_retained(wants_retained, lookup, broker.committer.retained_version)

    broker.committer.operate((), stored)


def unsubscribe(client: Client, broker: MessageBroker, session: Session, packet: Unsubscribe) -> None:
    """Unsubscribe at once; UNSUBACK follows when all nodes know of it, and the store."""
    codes: list[int] = []
    for topic_filter in packet.topic_filters:
        was_there = broker.sessions.unsubscribe(session, topic_filter)
        codes.append(0 if was_there else ReasonCode.NO_SUBSCRIPTION_EXISTED)
        if was_there and client.plugins is not None:
            client.plugins.unsubscribed(topic_filter)
    broker.committer.operate((), lambda: client.answer(Unsuback(packet.packet_id, codes)))


def _refusal(
    broker: MessageBroker, session: Session, wanted: Subscription, not_authorized: Collection[str]
) -> ReasonCode | None:
    if not is_valid_topic_filter(wanted.topic_filter, broker.limits.max_topic_levels):
        return ReasonCode.TOPIC_FILTER_INVALID
    if session.is_full and wanted.topic_filter not in session.subscriptions:
        return ReasonCode.QUOTA_EXCEEDED
    if wanted.topic_filter in not_authorized:
        return ReasonCode.UNSPECIFIED_ERROR  # 0x80 is the refusal that clients of every version know
    return None


def _code_of(client: Client, wanted: Subscription, refusal: ReasonCode) -> int:
    # v3.1 §3.8 has no refusal: "it must make a positive acknowledgement"
    return wanted.qos if client.protocol.version is ProtocolVersion.V3_1 else refusal
