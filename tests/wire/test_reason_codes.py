"""Reason codes against paho's own table, and what MQTT 3.x is told instead."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode

from broker.wire.packet_types import PacketType
from broker.wire.reason_codes import CONNACK_RETURN_CODES, REASON_CODES_OF, ReasonCode


@pytest.mark.parametrize("packet_type", REASON_CODES_OF, ids=lambda packet_type: packet_type.name)
def test_codes_of_each_packet_agree_with_paho(packet_type: PacketType) -> None:
    names = PahoReasonCode(PacketTypes.CONNACK).names
    theirs = {code for code, packets in names.items() if any(int(packet_type) in each for each in packets.values())}
    assert REASON_CODES_OF[packet_type] == theirs


def test_names_agree_with_paho() -> None:
    names = {
        name.upper().replace(" ", "_").replace("-", "_")
        for names in PahoReasonCode(PacketTypes.CONNACK).names.values()
        for name in names
    }
    assert set(ReasonCode.__members__) == names


def test_every_reason_code_of_connack_maps_to_a_return_code_or_none() -> None:
    """v3.1.1 §3.2.2.3: return codes 1 to 5; MQTT-3.2.2-6: without an applicable one there is no CONNACK."""
    assert set(CONNACK_RETURN_CODES) <= REASON_CODES_OF[PacketType.CONNACK]
    assert CONNACK_RETURN_CODES[ReasonCode.SUCCESS] == 0
    assert {code for reason, code in CONNACK_RETURN_CODES.items() if reason} == {1, 2, 3, 4, 5}
    assert ReasonCode.MALFORMED_PACKET not in CONNACK_RETURN_CODES
