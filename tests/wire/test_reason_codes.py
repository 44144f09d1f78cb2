"""Reason codes against paho's own table, and what MQTT 3.x is told instead."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode

from broker.wire.packet_types import PacketType
from broker.wire.reason_codes import CONNACK_RETURN_CODES, REASON_CODES_OF, ReasonCode

PAHO_NAMES = PahoReasonCode(PacketTypes.CONNACK).names
OTHERWISE_IN_PAHO = {  # the right-hand names are those of MQTT 5.0 §2.4
    "NO_SUBSCRIPTION_FOUND": "NO_SUBSCRIPTION_EXISTED",
    "SHARED_SUBSCRIPTION_NOT_SUPPORTED": "SHARED_SUBSCRIPTIONS_NOT_SUPPORTED",
    "WILDCARD_SUBSCRIPTION_NOT_SUPPORTED": "WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED",
}
MISSING_IN_PAHO = {PacketType.CONNACK: {0x99}}  # v5 §3.2.2.2: the payload of the will


@pytest.mark.parametrize("packet_type", REASON_CODES_OF, ids=lambda packet_type: packet_type.name)
def test_codes_of_each_packet_agree_with_paho(packet_type: PacketType) -> None:
    theirs = {code for code, names in PAHO_NAMES.items() if any(packet_type in packets for packets in names.values())}
    assert REASON_CODES_OF[packet_type] == theirs | MISSING_IN_PAHO.get(packet_type, set())


def test_names_agree_with_paho() -> None:
    theirs = {}
    for code, names in PAHO_NAMES.items():
        for name in names:
            upper_name = name.upper().replace(" ", "_").replace("-", "_")
            theirs[OTHERWISE_IN_PAHO.get(upper_name, upper_name)] = code
    assert {name: int(code) for name, code in ReasonCode.__members__.items()} == theirs


def test_every_reason_code_of_connack_maps_to_a_return_code_or_none() -> None:
    """v3.1.1 §3.2.2.3: return codes 1 to 5; [v3.1.1 MQTT-3.2.2-6]: without an applicable one there is no CONNACK."""
    assert set(CONNACK_RETURN_CODES) <= REASON_CODES_OF[PacketType.CONNACK]
    assert CONNACK_RETURN_CODES[ReasonCode.SUCCESS] == 0
    assert {code for reason, code in CONNACK_RETURN_CODES.items() if reason} == {1, 2, 3, 4, 5}
    assert ReasonCode.MALFORMED_PACKET not in CONNACK_RETURN_CODES
