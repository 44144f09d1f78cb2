"""Requests to the dashboard that never arrive whole. They need no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.hostile.scenario import Scenario

if TYPE_CHECKING:
    from emulator.hostile.attack import Attack

HEAD = b"GET /healthz HTTP/1.1\r\nHost: hostile\r\nX-Hostile: "
BODY = (
    b"POST /login HTTP/1.1\r\nHost: hostile\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 1000000\r\n\r\nusername="
)


def half_requests(attack: Attack) -> None:
    """300 requests whose heads never end."""
    _open(attack, HEAD)
    attack.wait(15)


def byte_by_byte(attack: Attack) -> None:
    """300 requests whose heads come a byte at a time."""
    _open(attack, HEAD)
    for _ in range(30):
        for link in attack.open_links():
            link.send(b"h")
        attack.wait(0.5)


def slow_bodies(attack: Attack) -> None:
    """300 forms whose bodies come a byte at a time."""
    _open(attack, BODY)
    for _ in range(30):
        for link in attack.open_links():
            link.send(b"b")
        attack.wait(0.5)


def unread_answers(attack: Attack) -> None:
    """300 connections that ask for the log-in page 200 times at once, and never read."""
    request = b"GET /login HTTP/1.1\r\nHost: hostile\r\n\r\n" * 200
    for _ in range(attack.count(300)):
        attack.link(request, waits=False, version=0, small=True, is_to_dashboard=True).ignore()
    attack.wait(15)


def _open(attack: Attack, first: bytes) -> None:
    for _ in range(attack.count(300)):
        attack.link(first, waits=False, version=0, is_to_dashboard=True)


SCENARIOS = (
    Scenario(
        "web-halves",
        "300 requests whose heads never end",
        "requests not arrived whole",
        half_requests,
        is_on_dashboard=True,
    ),
    Scenario(
        "web-trickle", "300 requests a byte at a time", "requests not arrived whole", byte_by_byte, is_on_dashboard=True
    ),
    Scenario(
        "web-bodies", "300 forms a byte at a time", "requests not arrived whole", slow_bodies, is_on_dashboard=True
    ),
    Scenario(
        "web-unread",
        "300 connections that never read",
        "requests of a connection",
        unread_answers,
        is_on_dashboard=True,
    ),
)
