"""SUBSCRIBE and UNSUBSCRIBE, and the retained messages a new subscription is sent (MQTT 5.0 §3.8-§3.11, §3.3.1.3)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from broker.routing.shared_subscription import parse_shared
from broker.routing.subscription_tree import SubscriptionOptions
from broker.routing.topic_filter import is_valid_topic_filter, is_wildcard, literal_prefix, matches
from broker.session.retained_lookup import RetainedLookup
from broker.session.session import Delivery
from broker.wire.packet_types import ProtocolVersion
from broker.wire.reason_codes import ReasonCode
from broker.wire.suback import Suback
from broker.wire.unsuback import Unsuback
from store.link import LinkDownError

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.session.client import Client
    from broker.session.message_broker import MessageBroker
    from broker.session.session import Session
    from broker.wire.subscribe import Subscribe, Subscription
    from broker.wire.unsubscribe import Unsubscribe
    from store.model import Message
    from store.retained import Deliver

RETAINED_RETRY_S = 0.5

Granted = list[tuple[str, SubscriptionOptions]]


def subscribe(
    client: Client, broker: MessageBroker, session: Session, packet: Subscribe, not_authorized: Collection[str] = ()
) -> None:
    """Subscribe at once; SUBACK follows when all nodes know of it, and the store, retained messages behind that.

    `not_authorized`: the topic filters that plugins refuse.
    """
    identifier = packet.properties.get("subscription_identifier", [0])[0]
    codes: list[int] = []
    retained: Granted = []
    for wanted in packet.subscriptions:
        refusal = _refusal(broker, session, wanted)
        if refusal is None and wanted.topic_filter in not_authorized:
            refusal = ReasonCode.UNSPECIFIED_ERROR  # 0x80 is the refusal that clients of every version know
        # v3.1 §3.8 has no refusal: «it must make a positive acknowledgement»
        can_be_told = client.protocol.version is not ProtocolVersion.V3_1
        codes.append(refusal if refusal is not None and can_be_told else wanted.qos)
        if refusal is not None:
            continue
        options = SubscriptionOptions(
            wanted.qos, wanted.is_no_local, wanted.retain_as_published, wanted.retain_handling, identifier
        )
        is_new = broker.sessions.subscribe(session, wanted.topic_filter, options)
        if client.plugins is not None:
            client.plugins.subscribed(wanted.topic_filter, wanted.qos)
        is_shared = parse_shared(wanted.topic_filter) is not None  # gets no retained messages: §4.8.2
        if not is_shared and (wanted.retain_handling == 0 or (wanted.retain_handling == 1 and is_new)):
            retained.append((wanted.topic_filter, options))

    lookup = RetainedLookup()
    if retained:
        client.retained_lookups += (lookup,)

    def remembered() -> None:
        if not client.is_closing:
            client.answer(Suback(packet.packet_id, codes))
            if retained:
                client.start(_send_retained(client, broker, session, retained, lookup))

    broker.sessions.remember_subscriptions(session, remembered)


def unsubscribe(client: Client, broker: MessageBroker, session: Session, packet: Unsubscribe) -> None:
    """Unsubscribe at once; UNSUBACK follows when all nodes know of it, and the store."""
    codes: list[int] = []
    for topic_filter in packet.topic_filters:
        was_there = broker.sessions.unsubscribe(session, topic_filter)
        codes.append(0 if was_there else ReasonCode.NO_SUBSCRIPTION_EXISTED)
        if was_there and client.plugins is not None:
            client.plugins.unsubscribed(topic_filter)

    def remembered() -> None:
        client.answer(Unsuback(packet.packet_id, codes))

    broker.sessions.remember_subscriptions(session, remembered)


def _refusal(broker: MessageBroker, session: Session, wanted: Subscription) -> ReasonCode | None:
    if not is_valid_topic_filter(wanted.topic_filter, broker.limits.max_topic_levels):
        return ReasonCode.TOPIC_FILTER_INVALID
    if session.is_full and wanted.topic_filter not in session.subscriptions:
        return ReasonCode.QUOTA_EXCEEDED
    return None


async def _send_retained(
    client: Client, broker: MessageBroker, session: Session, subscriptions: Granted, lookup: RetainedLookup
) -> None:
    for topic_filter, options in subscriptions:
        deliver = partial(_deliver, broker, session, options, lookup)
        deliver(broker.sys_messages_of(topic_filter))
        while True:
            try:
                await _send_retained_of(client, broker, session, topic_filter, deliver)
                break
            except LinkDownError:
                await asyncio.sleep(RETAINED_RETRY_S)
    client.retained_lookups = tuple(each for each in client.retained_lookups if each is not lookup)


async def _send_retained_of(
    client: Client, broker: MessageBroker, session: Session, topic_filter: str, deliver: Deliver
) -> None:
    async def room() -> None:
        while not client.is_writable or session.is_queue_half_full:
            await client.room()

    if not is_wildcard(topic_filter):
        await broker.retained.get(topic_filter, deliver)
    else:
        await broker.retained.find(literal_prefix(topic_filter), partial(matches, topic_filter), deliver, room)


def _deliver(
    broker: MessageBroker,
    session: Session,
    options: SubscriptionOptions,
    lookup: RetainedLookup,
    messages: list[Message],
) -> None:
    identifiers = (options.subscription_identifier,) if options.subscription_identifier else ()
    now = broker.monotonic()
    for message in messages:
        publish = broker.outgoing(message, now)
        if not publish.is_expired(now) and not lookup.has_sent(message):
            session.deliver(Delivery(publish, min(message.qos, options.qos), True, identifiers), now)
