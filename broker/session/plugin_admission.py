"""CONNECT where there are plugins: who may connect, and whether its will may be published (MQTT 5.0 §3.1, §5.4.1, §5.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.host.interface import Action, ClientFacts, Event, WillFacts
from broker.session.delivery_gate import DeliveryGate
from broker.session.packet_gate import PacketGate
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from broker.host.authentication_queue import AuthenticationQueue
    from broker.host.plugin_client import PluginClient
    from broker.host.plugin_host import PluginHost
    from broker.session.client import Client
    from broker.wire.connect import Connect


class BadCredentialsError(Exception):
    """A client's credentials, or their absence, are refused."""


async def admit(
    client: Client, host: PluginHost, queue: AuthenticationQueue, packet: Connect, client_id: str
) -> ReasonCode | None:
    """Return why plugins refuse a CONNECT, None where they do not: they judge from then on what the client does.

    Raises BadCredentialsError; TooManyWaitError where too many wait for their answer.
    """
    try:
        plugins = host.client(_facts(client, packet, client_id))
    except UnicodeDecodeError:  # amqtt's plugins know passwords as text only
        raise BadCredentialsError from None
    if host.has_auth_plugins:
        size_bytes = len(packet.encode())
        if not await queue.ask(packet.username, packet.password, size_bytes, plugins.authenticate):
            raise BadCredentialsError
    will = packet.will
    if will is not None and host.has_topic_plugins and not await plugins.is_allowed(will.topic_name, Action.PUBLISH):
        return ReasonCode.NOT_AUTHORIZED
    _judge_from_now_on(client, host, plugins)
    return None


def _judge_from_now_on(client: Client, host: PluginHost, plugins: PluginClient) -> None:
    client.plugins = plugins
    if host.has_topic_plugins or host.listens(Event.MESSAGE_RECEIVED):
        client.packet_gate = PacketGate(client, host, plugins)
    if host.has_receive_plugins:
        client.delivery_gate = DeliveryGate(client, plugins)


def _facts(client: Client, packet: Connect, client_id: str) -> ClientFacts:
    address, port = (client.network.get_extra_info("peername") or ("", 0))[:2]
    will = packet.will
    return ClientFacts(
        client_id,
        packet.username,
        packet.password,
        address,
        port,
        packet.clean_start,
        packet.keep_alive,
        None if will is None else WillFacts(will.topic_name, will.payload, will.qos, will.is_retain),
        client.network.get_extra_info("ssl_object"),
    )
