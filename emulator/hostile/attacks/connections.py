"""Connections: halves of packets, storms, wrong credentials, and all there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.hostile import packets
from emulator.hostile.packets import fixed_header, publish, subscribe, text
from emulator.hostile.scenario import Scenario

if TYPE_CHECKING:
    from emulator.hostile.attack import Attack

PACKET_BYTES = 1_990_000
HALF_BYTES = 1_000_000
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: hostile\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def half_packets(attack: Attack) -> None:
    """300 connections that send half of a packet of 2 MB, and no more."""
    topic = text(b"hostile/half")
    half = fixed_header(0x30, PACKET_BYTES) + topic + b"h" * (HALF_BYTES - len(topic))
    for client in range(attack.count(300)):
        attack.client(b"hostile-half-%d" % client).send(half)
    attack.settle()
    attack.wait(5)


def half_connects(attack: Attack) -> None:
    """2,000 connections that send the beginning of a CONNECT of 250 KB, and no more."""
    half = (
        fixed_header(0x10, 250_000) + text(b"MQTT") + b"\x04\x06\x00\x3c" + text(b"half") + b"\xff\xff" + b"h" * 30_000
    )
    for _ in range(attack.count(2000)):
        attack.link(half, waits=False)
    attack.wait(5)


def half_http(attack: Attack) -> None:
    """1,000 half-sent HTTP heads to the broker's port."""
    for _ in range(attack.count(1000)):
        attack.link(b"GET /mqtt HTTP/1.1\r\nX-Hostile: " + b"h" * 7000, waits=False, version=0)
    attack.wait(5)


def half_frames(attack: Attack) -> None:
    """200 WebSockets with half of a frame of 2 MB each."""
    frame = b"\x82\xff" + PACKET_BYTES.to_bytes(8, "big") + b"\x00\x00\x00\x00"
    connect = packets.connect(b"", username=attack.target.username, password=attack.target.password)
    opened = b"\x82\xfe" + len(connect).to_bytes(2, "big") + b"\x00\x00\x00\x00" + connect
    for _ in range(attack.count(200)):
        attack.link(UPGRADE, waits=False, version=0).send(opened, frame + b"\x30" + b"f" * HALF_BYTES)
    attack.settle()
    attack.wait(5)


def storm(attack: Attack) -> None:
    """5,000 times CONNECT, SUBSCRIBE, PUBLISH and away, half of them with DISCONNECT."""
    for number in range(attack.count(5000)):
        link = attack.client(b"hostile-storm-%d" % (number % 200))
        link.send(subscribe(1, [b"hostile/storm"]), publish(b"hostile/storm", b"1"))
        if number & 1:
            link.send(packets.LEAVE)
        if number % 50 == 49:
            attack.settle(0.05)
            for each in attack.open_links():
                each.close()
    attack.settle()


def takeovers(attack: Attack) -> None:
    """One client id in a persistent session taken over 2,000 times."""
    for _ in range(attack.count(2000)):
        link = attack.client(b"hostile-takeover", is_persistent=True)
        link.send(subscribe(1, [b"hostile/takeover"], qos=1), publish(b"hostile/takeover", b"1", qos=1, packet_id=1))
    attack.settle()


def wrong_password(attack: Attack) -> None:
    """5,000 attempts with a wrong password for one user name."""
    name = attack.target.username or "hostile"
    for number in range(attack.count(5000)):
        attack.client(b"hostile-wrong", username=name, password=f"wrong-{number}")
    attack.settle()


def wrong_users(attack: Attack) -> None:
    """5,000 attempts with as many user names, some long."""
    for number in range(attack.count(5000)):
        name = f"hostile-{number}".ljust(60_000 if number % 10 == 0 else 20, "u")
        attack.client(b"hostile-wrong", username=name, password=f"wrong-{number}")
    attack.settle()


def garbage(attack: Attack) -> None:
    """2,000 connections that send random bytes, before CONNECT and after."""
    for number in range(attack.count(2000)):
        noise = attack.random.randbytes(2000)
        if number & 1:
            attack.link(noise, waits=False, version=0)
        else:
            attack.client(b"hostile-garbage-%d" % number).send(noise)
    attack.settle()


def hoard(attack: Attack) -> None:
    """As many connections as there can be: 11,000, kept open."""
    for client in range(attack.count(11_000)):
        attack.client(b"hostile-hoard-%d" % client)
    attack.settle()
    attack.wait(3)


SCENARIOS = (
    Scenario("halves-packets", "300 half-sent packets of 2 MB", "bytes not arrived whole", half_packets),
    Scenario("halves-connects", "2,000 half-sent CONNECT of 250 KB", "bytes not arrived whole", half_connects),
    Scenario("halves-http", "1,000 half-sent HTTP heads to the broker's port", "bytes not arrived whole", half_http),
    Scenario("halves-websocket", "200 half-sent WebSocket frames of 2 MB", "bytes not arrived whole", half_frames),
    Scenario("connect-storm", "5,000 connections that come and go", "work of a connection", storm),
    Scenario("takeovers", "one session taken over 2,000 times", "work of a takeover", takeovers),
    Scenario("wrong-password", "5,000 wrong passwords for one user name", "attempts of a user name", wrong_password),
    Scenario("wrong-users", "5,000 wrong user names", "attempts in all", wrong_users),
    Scenario("garbage", "2,000 connections with random bytes", "malformed packets", garbage),
    Scenario("hoard", "11,000 connections kept open", "connections", hoard),
)
