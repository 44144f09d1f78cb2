"""What a Reason String says to a human where this server's own rules, credentials or life are the reason (MQTT 5.0 §3.2.2.3.9).

Constants: nothing that a client has sent, and nothing about the server's inside. A packet that breaks a rule of MQTT gets
the bare reason code that the specification has for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.wire.packet_types import PacketType
from broker.wire.reason_codes import FAILURE, ReasonCode
from broker.wire.suback import Suback
from broker.wire.unsuback import Unsuback

if TYPE_CHECKING:
    from broker.wire.codec import Answer

_CONNECT: Final = {
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: "the client identifier is longer than this server accepts",
    ReasonCode.BAD_USER_NAME_OR_PASSWORD: "the user name or the password is wrong",
    ReasonCode.NOT_AUTHORIZED: "not allowed: there is no user name, or the will may not be published",
    ReasonCode.SERVER_UNAVAILABLE: "the server could not open the session in time; try again later",
    ReasonCode.QUOTA_EXCEEDED: "the server keeps as many sessions, or as many unread bytes, as it may",
}
_SUBSCRIBE: Final = {
    ReasonCode.NOT_AUTHORIZED: "this client may not subscribe to this topic filter",
    ReasonCode.TOPIC_FILTER_INVALID: "the topic filter has too many levels",
    ReasonCode.QUOTA_EXCEEDED: "the session has as many subscriptions as it may",
}
_END: Final = {
    ReasonCode.UNSPECIFIED_ERROR: "a fault of the server; it is in the server's log",
    ReasonCode.QUOTA_EXCEEDED: "the server keeps as much as it may of packets that have not arrived whole",
    ReasonCode.SERVER_SHUTTING_DOWN: "the server stops or restarts; connect again",
    ReasonCode.KEEP_ALIVE_TIMEOUT: "nothing came for one and a half times the keep alive",
    ReasonCode.SESSION_TAKEN_OVER: "another connection uses this client identifier",
}
_REASONS: Final = {
    PacketType.CONNACK: _CONNECT,
    PacketType.SUBACK: _SUBSCRIBE,
    PacketType.DISCONNECT: _END,
}

FAULTS: Final = {
    ReasonCode.MALFORMED_PACKET,
    ReasonCode.PROTOCOL_ERROR,
    ReasonCode.TOPIC_NAME_INVALID,
    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
    ReasonCode.TOPIC_ALIAS_INVALID,
    ReasonCode.PACKET_TOO_LARGE,
    ReasonCode.QUOTA_EXCEEDED,
}
"""With these the server says that the client has broken a rule."""


def reason_string(packet: Answer) -> str:
    """Return what explains the failures in an answer; "" for none, or where their codes say everything."""
    reasons = _REASONS.get(packet.packet_type, {})
    codes = packet.reason_codes if isinstance(packet, Suback | Unsuback) else (packet.reason_code,)
    failures = dict.fromkeys(ReasonCode(code) for code in codes if code >= FAILURE)
    return "; ".join(reasons[code] for code in failures if code in reasons)
