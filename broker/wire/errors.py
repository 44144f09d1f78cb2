"""What decoding can find wrong, with the reason code the peer is to see (MQTT 5.0 §4.13).

The specification knows two kinds: a Malformed Packet cannot be parsed; a Protocol Error is parsed and
then found to hold what is not allowed.
"""

from __future__ import annotations

from typing import ClassVar

from broker.wire.reason_codes import ReasonCode


class WireError(ValueError):
    """Bytes that are no packet of the protocol; the network connection has to be closed.

    `reason_code` goes into DISCONNECT of MQTT 5; the message names the statement that was broken. `connack` answers a
    CONNECT in a form that its sender can read; empty: close without an answer.
    """

    default_reason_code: ClassVar[ReasonCode] = ReasonCode.UNSPECIFIED_ERROR

    def __init__(self, message: str, reason_code: ReasonCode | None = None) -> None:
        super().__init__(message)
        self.reason_code = self.default_reason_code if reason_code is None else reason_code
        self.connack = b""


class MalformedPacketError(WireError):
    """The packet cannot be parsed according to the specification [v5 MQTT-4.13.1-1]."""

    default_reason_code = ReasonCode.MALFORMED_PACKET


class ProtocolViolationError(WireError):
    """The packet can be parsed, and holds what the specification does not allow ("Protocol Error")."""

    default_reason_code = ReasonCode.PROTOCOL_ERROR


class PacketTooLargeError(WireError):
    """The packet is larger than the receiver said it accepts [v5 MQTT-3.2.2-15]."""

    default_reason_code = ReasonCode.PACKET_TOO_LARGE


class QuotaExceededError(WireError):
    """The packet is well formed and holds more than this server reads at once (v5 §4.13.2)."""

    default_reason_code = ReasonCode.QUOTA_EXCEEDED


class UnsupportedProtocolVersionError(WireError):
    """CONNECT names a protocol or a level that is not served [v5 MQTT-3.1.2-2], [v3.1.1 MQTT-3.1.2-2]."""

    default_reason_code = ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
