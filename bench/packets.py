"""MQTT 3.1.1 packets, encoded before the clock starts; independent of the broker's own codec."""

from __future__ import annotations

import json
import struct

PAYLOAD_BYTES = 100
ACKNOWLEDGEMENT_BYTES = 4  # PUBACK of MQTT 3.1.1: 0x40, 2, packet identifier
CONNACK_BYTES = 4
SUBACK_BYTES = 5  # for one filter
PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
PINGRESP_BYTES = 2


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def _packet(first_byte: int, body: bytes) -> bytes:
    if len(body) < 128:
        return bytes([first_byte, len(body)]) + body
    return bytes([first_byte, len(body) & 127 | 128, len(body) >> 7]) + body


def connect(client_id: str, *, is_clean: bool = True) -> bytes:
    """CONNECT, keep alive off."""
    return _packet(0x10, _text("MQTT") + bytes([4, 2 * is_clean, 0, 0]) + _text(client_id))


def subscribe(topic_filter: str, qos: int = 0) -> bytes:
    """SUBSCRIBE to one filter."""
    return _packet(0x82, b"\x00\x01" + _text(topic_filter) + bytes([qos]))


def telemetry(number: int) -> bytes:
    """Return a JSON object of PAYLOAD_BYTES with three numeric fields, as devices send it."""
    values = {"temperature": 20 + number % 100 / 10, "humidity": 40 + number % 37, "battery": 3.5, "pad": ""}
    short = json.dumps(values, separators=(",", ":"))
    return json.dumps(values | {"pad": "x" * (PAYLOAD_BYTES - len(short))}, separators=(",", ":")).encode()


def publish_qos_0(topic_name: str, number: int) -> bytes:
    """PUBLISH at QoS 0; all of one topic have the same length."""
    return _packet(0x30, _text(topic_name) + telemetry(number))


def publish_qos_1(topic_name: str, packet_id: int) -> bytes:
    """PUBLISH at QoS 1."""
    return _packet(0x32, _text(topic_name) + struct.pack("!H", packet_id) + telemetry(packet_id))


def publish_number(topic_name: str, number: int) -> bytes:
    """PUBLISH at QoS 1 whose payload is a number in PAYLOAD_BYTES digits."""
    packet_id = struct.pack("!H", number % 65_535 + 1)
    return _packet(0x32, _text(topic_name) + packet_id + b"%0*d" % (PAYLOAD_BYTES, number))


def split_publishes(received: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return number and PUBACK of each whole `publish_number` in `received`, and the rest."""
    found, start = [], 0
    while len(received) - start >= 3:
        length, is_long = received[start + 1] & 127, received[start + 1] >> 7
        end = start + 2 + is_long + length + is_long * (received[start + 2] << 7)
        if end > len(received):
            break
        packet_id = end - PAYLOAD_BYTES - 2
        found.append((int(received[packet_id + 2 : end]), b"\x40\x02" + received[packet_id : packet_id + 2]))
        start = end
    return found, received[start:]
