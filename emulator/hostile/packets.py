"""MQTT control packets as bytes, also such as no library sends. Pure.

Sources: MQTT 3.1.1 and 5.0, §2.1 (fixed header) and §3. `version` is the protocol level: V311 or V5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

V311, V5 = 4, 5
CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT = 2, 3, 4, 5, 6, 7, 9, 11, 14
"""Control packet types that a server sends (§2.1.2)."""
PINGREQ, LEAVE = b"\xc0\x00", b"\xe0\x00"
LONGEST_TEXT_BYTES = 65_535
WILL_DELAY_NONE = b"\x00"


def fixed_header(first: int, remaining_length: int) -> bytes:
    """Return a fixed header, whatever follows it."""
    header = bytearray([first])
    while True:
        remaining_length, digit = divmod(remaining_length, 128)
        header.append(digit | (0x80 if remaining_length else 0))
        if not remaining_length:
            return bytes(header)


def packet(first: int, body: bytes) -> bytes:
    """Return a complete packet."""
    return fixed_header(first, len(body)) + body


def text(value: bytes) -> bytes:
    """Return a string or binary data with its length. Raises OverflowError beyond 65,535 bytes."""
    return len(value).to_bytes(2, "big") + value


def with_length(properties: bytes) -> bytes:
    """Return MQTT 5 properties with their length."""
    return fixed_header(0, len(properties))[1:] + properties


def user_property(name: bytes, value: bytes) -> bytes:
    """Return one MQTT 5 user property."""
    return b"\x26" + text(name) + text(value)


def connect(
    client_id: bytes,
    *,
    username: str = "",
    password: str = "",
    version: int = V311,
    is_clean: bool = True,
    expiry_s: int = 0,
    will: tuple[bytes, bytes] | None = None,
    keep_alive_s: int = 600,
) -> bytes:
    """Return CONNECT. `will`: topic and payload, QoS 1; `expiry_s`: MQTT 5 only."""
    flags = (0x02 if is_clean else 0) | (0x80 if username else 0) | (0x40 if password else 0)
    flags |= 0x0C if will else 0
    head = text(b"MQTT") + bytes([version, flags]) + keep_alive_s.to_bytes(2, "big")
    if version == V5:
        head += with_length(b"\x11" + expiry_s.to_bytes(4, "big") if expiry_s else b"")
    body = text(client_id)
    if will:
        body += (WILL_DELAY_NONE if version == V5 else b"") + text(will[0]) + text(will[1])
    body += text(username.encode()) if username else b""
    body += text(password.encode()) if password else b""
    return packet(0x10, head + body)


def subscribe(packet_id: int, filters: Iterable[bytes], *, qos: int = 0, version: int = V311) -> bytes:
    """Return SUBSCRIBE; the filters in one packet."""
    wanted = bytes([qos])
    filled = b"".join(text(each) + wanted for each in filters)
    return packet(0x82, packet_id.to_bytes(2, "big") + (b"\x00" if version == V5 else b"") + filled)


def unsubscribe(packet_id: int, filters: Iterable[bytes], *, version: int = V311) -> bytes:
    """Return UNSUBSCRIBE."""
    filled = b"".join(map(text, filters))
    return packet(0xA2, packet_id.to_bytes(2, "big") + (b"\x00" if version == V5 else b"") + filled)


def publish(
    topic: bytes,
    payload: bytes = b"",
    *,
    qos: int = 0,
    packet_id: int = 0,
    is_retained: bool = False,
    is_again: bool = False,
    version: int = V311,
    properties: bytes = b"",
) -> bytes:
    """Return PUBLISH; `properties` without their length, MQTT 5 only."""
    first = 0x30 | (0x08 if is_again else 0) | qos << 1 | (0x01 if is_retained else 0)
    identifier = packet_id.to_bytes(2, "big") if qos else b""
    return packet(first, text(topic) + identifier + (with_length(properties) if version == V5 else b"") + payload)


def acknowledge(kind: int, packet_id: int) -> bytes:
    """Return PUBACK, PUBREC, PUBREL or PUBCOMP without a reason."""
    return bytes([kind << 4 | (0x02 if kind == PUBREL else 0), 2]) + packet_id.to_bytes(2, "big")


def leave(*, expiry_s: int) -> bytes:
    """Return an MQTT 5 DISCONNECT that sets the session's expiry interval."""
    return packet(0xE0, b"\x00" + with_length(b"\x11" + expiry_s.to_bytes(4, "big")))
