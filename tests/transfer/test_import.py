from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

from installation import message, now_ms

from store import schema
from store.times import rfc3339

if TYPE_CHECKING:
    from installation import Installation

ODD_NAMES = ['say "hi"', "a,b", "a/b", "{x}", "line\nbreak", "ä 💡", "=1+1", "%7B", "tab\t", "plain", "b"]
VIEWS = ("first_seen", "last_seen", "messages", "bytes", "client_id", "position", "history_count")


def fill(installation: Installation, commits: int = 6, size: int = 90) -> None:
    """Publish for all odd names by turns: JSON, text, nothing, and bytes that are no text."""
    start_ms = now_ms() - 3_600_000
    for commit in range(commits):
        some = []
        for index in range(size):
            n = commit * size + index
            payload = [json.dumps({"n": n, "t": {"x": n / 8}}).encode(), b"\xff\x00", b"", "ä\u2028\n".encode()][n % 4]
            each = message(
                ODD_NAMES[n % 11], payload, at_ms=start_ms + n * 1000, topic=f"t{n % 5}", flags=n % 16 & ~3 | n % 3
            )
            each.properties = b"\x05\x26\x00\x01a\x00" * (n % 2)
            some.append(each)
        installation.publish(*some)


def views(installation: Installation) -> dict[str, object]:
    """Everything that the dashboard reads of the devices, but for how their histories are cut into chunks."""
    store = installation.redis
    found: dict[str, object] = {
        key: store.hgetall(key) for key in sorted(store.keys("d:*")) if not key.endswith((b":history", b":record"))
    }
    for key in store.keys("d:*:record"):
        found[key] = store.hmget(key, VIEWS)
    found["fleet"] = store.hmget(schema.FLEET, "messages", "bytes")
    for key in (schema.DEVICES_SEEN, schema.DEVICES_NAMES):
        found[key] = store.zrange(key, 0, -1, withscores=True)
    return found


def assert_import(installation: Installation, lines: bytes, words: str, *arguments: str) -> None:
    done = installation.run("import", "-", *arguments, stdin=lines)
    assert done.returncode == 0, done.stderr.decode()
    assert words in done.stderr.decode()


def test_another_installation_has_the_same(here: Installation, there: Installation) -> None:
    fill(here)
    whole = here.export()
    assert_import(there, whole, "540 imported, 0 were there")
    assert there.export() == whole
    assert views(there) == views(here)


def test_again_it_changes_nothing(here: Installation, there: Installation) -> None:
    fill(here)
    whole = here.export()
    assert_import(there, whole, "540 imported")
    before = views(there)
    assert_import(there, whole, "0 imported, 540 were there")
    assert_import(here, whole, "0 imported, 540 were there")
    assert views(there) == before == views(here)
    assert there.export() == here.export() == whole


def test_in_any_order(here: Installation, there: Installation) -> None:
    fill(here)
    whole = here.export()
    lines = whole.splitlines(keepends=True)
    parts = [lines[start::3] for start in range(3)]
    for part in (reversed(parts[2]), parts[0], random.Random(3).sample(parts[1], len(parts[1]))):
        assert_import(there, b"".join(part), "180 imported")
    assert there.export() == whole
    assert views(there) == views(here)
    assert_import(there, whole, "0 imported, 540 were there")


def test_what_is_published_meanwhile_stays(here: Installation, there: Installation) -> None:
    fill(here)
    before = here.export()
    fill(there, commits=1)
    live = there.export()
    assert_import(there, before, "540 imported")
    both = sorted(before.splitlines() + live.splitlines(), key=lambda line: _place(json.loads(line)))
    assert there.export().splitlines() == both
    fill(there, commits=1)
    assert there.query.fleet().messages == 540 + 90 + 90
    assert sum(row.messages for row in there.query.devices().rows) == 540 + 90 + 90
    assert_import(there, before, "0 imported, 540 were there")


def _place(row: dict[str, str]) -> tuple[bytes, tuple[int, ...]]:
    return row["device"].encode(), tuple(map(int, row["id"].split("-")))


def test_killed_at_random_points_and_run_again(here: Installation, there: Installation) -> None:
    fill(here, commits=40, size=200)
    whole = here.export()
    chance = random.Random(11)
    for _ in range(6):
        device = schema.device(chance.choice(ODD_NAMES), "record")
        before = there.redis.hget(device, "messages")
        with there.start("import", "-") as process:
            assert process.stdin is not None
            process.stdin.write(whole)
            process.stdin.close()
            while process.poll() is None and there.redis.hget(device, "messages") == before:
                pass
            time.sleep(chance.uniform(0, 0.02))  # a random point
            process.kill()
    assert_import(there, whole, "were there")
    assert there.export() == whole
    assert views(there) == views(here)


def test_what_was_cut_off_is_not_counted_twice(here: Installation, there: Installation) -> None:
    some = [message("a", {"n": n}, at_ms=now_ms() - 60_000 + n) for n in range(1000)]
    for start in range(0, 1000, 100):
        here.publish(*some[start : start + 100])
    whole = here.export()
    lines = whole.splitlines(keepends=True)
    assert_import(there, b"".join(lines[:500]), "500 imported")
    there.settings = there.settings.replace(history_messages=100)
    there.publish(message("a", {"n": 1000}))
    assert there.redis.hget(schema.device("a", "record"), "history_count") < b"300"
    done = there.run("import", "-", stdin=whole)
    assert "500 imported" in done.stderr.decode()
    assert "older than what their devices keep" in done.stderr.decode()
    device = there.query.device("a")
    assert device is not None
    assert device.messages == there.query.fleet().messages == 1001
    (point,) = there.query.series("a", "n", now_ms() - 600_000, now_ms() + 60_000, 1).points
    assert (point.min, point.max, point.count) == (0, 1000, 1001)
    assert device.values["n"].value == 1000


BAD: list[tuple[dict[str, object], str]] = [
    ({"id": f"{now_ms() + 3_600_000}-0"}, "newer than the clock"),
    ({"id": "1-x"}, "message id"),
    ({"id": "0-0"}, "no message's id"),
    ({"ts": "yesterday"}, "yesterday"),
    ({"ts": "2026-01-31T12:00:00"}, "time zone"),
    ({"qos": 3}, "qos"),
    ({"qos": "1"}, "int"),
    ({"device": ""}, "device"),
    ({"device": "d" * 257}, "device"),
    ({"topic": ""}, "topic"),
    ({"payload": {}}, "payload"),
    ({"payload": {"text": "", "base64": ""}}, "payload"),
    ({"payload": {"base64": "A"}}, "base64"),
    ({"properties": "*"}, "base64"),
    ({"unknown": 1}, "unknown"),
]


def test_bad_lines_are_named(here: Installation) -> None:
    good = {
        "device": "d", "id": "1700000000000-0", "ts": rfc3339(1_700_000_000_000), "topic": "t", "qos": 0, "retain": False,
        "client": "c", "payload": {"text": "1"},
    }  # fmt: skip
    rows = [good, *({**good, **change} for change, _ in BAD), {**good, "id": "1700000000000-1"}]
    stdin = "\n".join([*map(json.dumps, rows), "", "{"]).encode()
    done = here.run("import", "-", stdin=stdin)
    assert done.returncode == 1
    assert "Line 2: its id" in done.stderr.decode()
    assert len(here.export().splitlines()) == 1
    done = here.run("import", "-", "--skip-bad", stdin=stdin)
    assert done.returncode == 0
    for number, (_, words) in enumerate(BAD, 2):
        (line,) = [line for line in done.stderr.decode().splitlines() if line.startswith(f"Line {number} is skipped")]
        assert words in line
    assert f"{len(BAD) + 1} lines were skipped" in done.stderr.decode()
    assert len(here.export().splitlines()) == 2


def test_what_the_log_still_holds_comes_first(here: Installation, there: Installation) -> None:
    there.commit([message("a", {"n": 1})])
    fill(here, commits=1)
    done = there.run("import", "-", stdin=here.export())
    assert done.returncode == 1
    assert "in the log that wait" in done.stderr.decode()
    there.publish(message("a", {"n": 2}))
    assert_import(there, here.export(), "90 imported")


def test_without_a_store_or_a_file_it_says_so(here: Installation) -> None:
    assert b"cannot be read" in here.run("import", "/nowhere/file").stderr
    done = here.run("import", "-", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert b"Redis does not do it" in done.stderr


def test_it_stops_before_redis_is_full(here: Installation, there: Installation) -> None:
    fill(here)
    try:
        there.redis.config_set("maxmemory", int(there.redis.info("memory")["used_memory"]) + 100_000)
        done = there.run("import", "-", stdin=here.export())
    finally:
        there.redis.config_set("maxmemory", 0)
    assert done.returncode == 1
    assert "no room" in done.stderr.decode()
    assert there.redis.keys("d:*") == []
