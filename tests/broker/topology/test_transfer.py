"""Export, import and check work on a cluster and behind Sentinels as they do on one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import schema
from tests.transfer.installation import Installation, message, now_ms

if TYPE_CHECKING:
    from redis_servers import Servers

DEVICES = 20  # their keys lie in about as many slots
HOUR_MS = 3_600_000


def _fill(installation: Installation, hours_ago: int) -> None:
    start_ms = now_ms() - hours_ago * HOUR_MS
    for round_ in range(3):
        at_ms = start_ms + round_ * 60_000
        some = [message(f"d{each}", {"temperature": each + round_}, at_ms=at_ms) for each in range(DEVICES)]
        installation.publish(*some, at_ms=at_ms)


def test_messages_move_to_it_and_away(servers: Servers, redis_url: str) -> None:
    with Installation(redis_url) as single, Installation(servers.url) as spread:
        _fill(single, hours_ago=2)
        exported = single.export()
        for told in (b"60 imported, 0 were there already", b"0 imported, 60 were there already"):
            done = spread.run("import", "-", stdin=exported)
            assert (done.returncode, told in done.stderr) == (0, True), done.stderr
        assert spread.export() == exported
        assert spread.export("--format", "csv", "--search", "d1") == single.export("--format", "csv", "--search", "d1")


def test_older_messages_come_in_behind_newer_ones(servers: Servers, redis_url: str) -> None:
    with Installation(redis_url) as single, Installation(servers.url) as spread:
        _fill(single, hours_ago=3)
        _fill(spread, hours_ago=1)
        assert spread.run("import", "-", stdin=single.export()).returncode == 0
        assert spread.query.fleet().messages == 6 * DEVICES
        assert len(spread.query.messages("d7").rows) == 6
        done = spread.run("check")
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


def test_what_a_check_finds_it_repairs(servers: Servers) -> None:
    with Installation(servers.url) as spread:
        _fill(spread, hours_ago=1)
        for each in range(DEVICES):
            spread.redis.hincrby(schema.device(f"d{each}", "record"), "messages", -1)
        assert spread.run("check").returncode == 1
        spread.run("check", "--repair")
        done = spread.run("check")
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        assert spread.query.fleet().messages == 3 * DEVICES
