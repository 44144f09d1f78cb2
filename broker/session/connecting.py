"""CONNECT: who may connect, under which limits, with which session (MQTT 5.0 §3.1, §3.2; MQTT 3.1.1 §3.1, §3.2)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from broker.host.authentication_queue import TooManyWaitError
from broker.protocol.limits import TOPIC_ALIAS_MAXIMUM
from broker.routing.topic_filter import matches
from broker.session.lasting_session import LastingSession
from broker.session.plugin_admission import BadCredentialsError, admit
from broker.session.sessions import TooManySessionsError
from broker.wire.connack import Connack
from broker.wire.packet_types import ProtocolVersion
from broker.wire.reason_codes import ReasonCode
from store import cluster, session_store
from store.link import LinkDownError

if TYPE_CHECKING:
    from broker.session.client import Client
    from broker.session.message_broker import MessageBroker
    from broker.session.session import Session
    from broker.wire.connect import Connect
    from broker.wire.properties import Properties
    from store.commit_log import Change
    from store.link import Replies

DEFAULT_RECEIVE_MAXIMUM = 65_535
LONGEST_KEEP_ALIVE_S = 65_535
BRIDGE_STATES = "$SYS/broker/connection/+/state"
LONGEST_TEXT_BYTES = 65_535


async def connect(client: Client, broker: MessageBroker, packet: Connect) -> None:
    """Answer CONNECT. One that needs the store waits for it, until CONNECT_TIMEOUT_S ends the connection."""
    client_id = packet.client_id or f"auto-{uuid4().hex[:20]}"
    try:
        refusal = _judge(client, broker, packet)
        if refusal is None and broker.plugins is not None:
            refusal = await admit(client, broker.plugins, broker.authentication_queue, packet, client_id)
    except BadCredentialsError:
        _refuse_credentials(client, broker, packet.username)
        return
    except TooManyWaitError:
        _close_unanswered(client, broker)
        return
    if client.is_closing:
        return
    if refusal is not None:
        client.reject(refusal)
        return
    properties: Properties = {}
    if not packet.client_id:
        properties["assigned_client_identifier"] = client_id  # [v5 MQTT-3.2.2-16]
    expiry_interval_s = _granted_expiry(client, broker, packet, properties)
    is_lasting = expiry_interval_s > 0 or not packet.clean_start
    try:
        session = broker.sessions.open(
            client_id, client, broker.monotonic(), packet.will, is_clean=packet.clean_start, is_lasting=is_lasting
        )
    except TooManySessionsError:
        client.reject(ReasonCode.QUOTA_EXCEEDED)
        return
    client.session = session
    session.expiry_interval_s = expiry_interval_s
    session.window = min(session.max_window, packet.properties.get("receive_maximum", DEFAULT_RECEIVE_MAXIMUM))
    session.pending_owns += 1
    broker.committer.own(cluster.own(client_id, is_new=packet.clean_start), partial(_owned, broker, session))
    broker.sessions.set_will(session, packet.will, is_charged=True)
    is_present = isinstance(session, LastingSession) and await _go_on_with(session, broker)
    if not isinstance(session, LastingSession):
        await _stored(broker)  # whoever connects after CONNACK takes over from this connection, at whatever node
    if client.is_closing:
        return
    keep_alive_s = _granted_keep_alive(client, broker, packet, properties)
    _announce_limits(broker, properties)
    if packet.properties.get("request_response_information"):
        _suggest_response_topics(client_id, properties)
    broker.presence.connected(client_id)
    client.accept(Connack(is_present, 0, properties if client.protocol.is_v5 else {}), keep_alive_s)


def _owned(broker: MessageBroker, session: Session) -> None:
    """Take note that the store has it that this node serves the client."""
    session.is_served_here()
    if not isinstance(session, LastingSession):
        broker.routes.set_session(session.client_id, None)  # the session of before has ended with this commit


def may_publish(broker: MessageBroker, topic_name: str) -> bool:
    """Tell whether a client may publish to a topic at all.

    `$SYS` belongs to the server, save where bridges of Mosquitto say that they are connected; `$share` is no topic.
    """
    if topic_name.count("/") >= broker.limits.max_topic_levels:
        return False
    return not topic_name.startswith(("$SYS/", "$share/")) or matches(BRIDGE_STATES, topic_name)


def _refuse_credentials(client: Client, broker: MessageBroker, username: str | None) -> None:
    """Answer bad credentials, the later the more of them there are; nothing of the packet is kept meanwhile."""
    if client.is_closing:
        return
    reason_code = ReasonCode.NOT_AUTHORIZED if username is None else ReasonCode.BAD_USER_NAME_OR_PASSWORD
    delay_s = broker.refusals.refuse(username, broker.monotonic())
    if delay_s is None:
        _close_unanswered(client, broker)
    elif delay_s:
        client.start(_refuse_later(client, broker, reason_code, delay_s))
    else:
        client.reject(reason_code)


async def _refuse_later(client: Client, broker: MessageBroker, reason_code: ReasonCode, delay_s: float) -> None:
    with broker.refusals.waits():
        await asyncio.sleep(delay_s)
    if not client.is_closing:
        client.reject(reason_code)


def _close_unanswered(client: Client, broker: MessageBroker) -> None:
    broker.counters.connects_rejected += 1
    broker.refusals.closed_unanswered()
    client.close(ReasonCode.CONNECTION_RATE_EXCEEDED)


def _judge(client: Client, broker: MessageBroker, packet: Connect) -> ReasonCode | None:
    """Return why a CONNECT is refused whoever sends it, None where it is not. Raises BadCredentialsError."""
    version = client.protocol.version
    may_be_empty = version is ProtocolVersion.V5 or (version is ProtocolVersion.V3_1_1 and packet.clean_start)
    if not packet.client_id and not may_be_empty:  # [v3.1.1 MQTT-3.1.3-8]
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    if len(packet.client_id.encode()) > broker.limits.max_client_id_bytes:
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    if "authentication_method" in packet.properties:
        return ReasonCode.BAD_AUTHENTICATION_METHOD  # [v5 MQTT-4.12.0-1]
    do_plugins_decide = broker.plugins is not None and broker.plugins.has_auth_plugins
    if not do_plugins_decide and not broker.authenticator.is_allowed(packet.username, packet.password):
        raise BadCredentialsError
    if packet.will is not None and not may_publish(broker, packet.will.topic_name):
        return ReasonCode.NOT_AUTHORIZED
    return None


async def _stored(broker: MessageBroker, *changes: Change) -> None:
    """Return once this and everything before it is stored."""
    stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done() -> None:
        if not stored.done():
            stored.set_result(None)

    broker.committer.operate(changes, done)
    await stored


async def _go_on_with(session: LastingSession, broker: MessageBroker) -> bool:
    """Have the store keep the session from now on, and read what it holds of it: behind every earlier acknowledgement.

    Returns whether it was there before.
    """
    token = uuid4().hex
    await _stored(broker, *session_store.create(session.client_id, session.expiry_interval_s, token))
    link = broker.sessions.backing.link
    commands = session_store.state_commands(session.client_id)
    began = token

    def restore(replies: Replies) -> None:
        nonlocal began
        if broker.sessions.get(session.client_id) is not session:
            return  # another node serves it now
        state = session_store.read_state(replies)
        began = state.began
        session.restore(state)
        broker.sessions.serve(session, state.subscriptions)

    while True:
        try:
            # Restored inside the answer: an entry that is committed behind it comes behind it here too.
            await link.send(commands, restore)
        except LinkDownError:
            await link.wait_up()
        else:
            break
    await _stored(broker)  # from now on the other nodes tell this one of new entries; there may be some already
    session.look()
    return began != token


def _granted_expiry(client: Client, broker: MessageBroker, packet: Connect, properties: Properties) -> int:
    most = broker.max_session_expiry_s
    if not client.protocol.is_v5:
        return 0 if packet.clean_start else most
    asked: int = packet.properties.get("session_expiry_interval", 0)
    if asked > most:
        properties["session_expiry_interval"] = most
    return min(asked, most)


def _granted_keep_alive(client: Client, broker: MessageBroker, packet: Connect, properties: Properties) -> int:
    most = broker.limits.max_keep_alive_s
    is_limited = most < LONGEST_KEEP_ALIVE_S and (packet.keep_alive == 0 or packet.keep_alive > most)
    if client.protocol.is_v5 and is_limited:
        properties["server_keep_alive"] = most  # [v5 MQTT-3.1.2-21]
        return most
    return packet.keep_alive


def _announce_limits(broker: MessageBroker, properties: Properties) -> None:
    properties["topic_alias_maximum"] = TOPIC_ALIAS_MAXIMUM
    properties["maximum_packet_size"] = broker.limits.max_packet_bytes
    properties["receive_maximum"] = broker.limits.receive_maximum


def _suggest_response_topics(client_id: str, properties: Properties) -> None:
    """Name the topics that are this client's own for responses (v5 §3.2.2.3.15): quoted, an id is one level, no wildcard."""
    prefix = f"response/{quote(client_id, safe='')}/"
    if len(prefix) <= LONGEST_TEXT_BYTES:
        properties["response_information"] = prefix
