from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from installation import message, now_ms

from store import schema
from store.connection import connect_async
from store.rollups import ages_s
from store.schema import DAY, HOUR, MINUTE
from transfer.check_command import check
from transfer.device_check import DeviceCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis
    from installation import Installation

RECORD, VALUES, TOPICS, HISTORY = (schema.device("a{1}", part) for part in ("record", "values", "topics", "history"))
START_MS = (now_ms() - 7_200_000) // HOUR.ms * HOUR.ms


def fill(installation: Installation) -> None:
    for start in range(0, 400, 100):
        some = [
            message(("a{1}", "b")[n % 2], {"t": n, "u": n / 3}, at_ms=START_MS + n * 1000, topic=f"t{n % 3}")
            for n in range(start, start + 100)
        ]
        installation.publish(*some)


def everything(installation: Installation) -> dict[bytes, Any]:
    """All that is kept of devices and fleet, but for how histories are cut into chunks and what imports note."""
    store = installation.redis
    found: dict[bytes, Any] = {key: store.hgetall(key) for key in store.keys("d:*") if not key.endswith(b":history")}
    for key, record in found.items():
        if key.endswith(b":record"):
            found[key] = {name: record[name] for name in record if name.decode() in schema.RECORD_FIELDS[:7]}
    for key in (schema.DEVICES_SEEN, schema.DEVICES_NAMES):
        found[key.encode()] = store.zrange(key, 0, -1, withscores=True)
    found[b"fleet"] = store.hmget(schema.FLEET, "messages", "bytes")
    return found


def key_of(unit: schema.Unit) -> str:
    return schema.rollups("a{1}", unit, START_MS // unit.ms // unit.span, "t")


def entry_of(unit: schema.Unit) -> str:
    return str(START_MS // unit.ms % unit.span)


def lose_chunk(store: redis.Redis) -> None:
    store.xdel(HISTORY, store.xrange(HISTORY, count=2)[1][0])


def leave_out_last_chunk(store: redis.Redis) -> None:
    """Make it look as if the projector had left out one entry of the log."""
    *kept, (_, lost) = store.xrange(HISTORY)
    store.delete(HISTORY)
    for entry_id, fields in kept:
        store.xadd(HISTORY, fields, entry_id)
    store.hincrby(RECORD, "messages", -int(lost[b"n"]))
    last = msgspec.msgpack.decode(kept[-1][1][b"i"])[-1]
    store.hset(RECORD, "position", f"{last[0]}-{last[1]}")
    for unit in (MINUTE, HOUR, DAY):
        for key in store.keys(f"d:*:{unit.letter}:*"):
            if b"a%7B1%7D" in key:
                store.delete(key)


BREAKS: dict[str, tuple[Callable[[redis.Redis], Any], str]] = {
    "count": (lambda store: store.hset(RECORD, "history_count", 7), "history_count is 7"),
    "bytes": (lambda store: store.hset(RECORD, "history_bytes", 7), "history_bytes is 7"),
    "messages": (lambda store: store.hincrby(RECORD, "messages", -9), "messages is 191"),
    "payload bytes": (lambda store: store.hincrby(RECORD, "bytes", 5), "bytes is"),
    "position": (lambda store: store.hset(RECORD, "position", "1-1"), "position is 1-1"),
    "last seen": (lambda store: store.hset(RECORD, "last_seen", 5), "last_seen is 5"),
    "first seen": (lambda store: store.hset(RECORD, "first_seen", now_ms()), "first_seen is"),
    "client": (lambda store: store.hset(RECORD, "client_id", "x"), "client_id is x"),
    "record": (lambda store: store.delete(RECORD), "position is missing"),
    "value": (lambda store: store.hset(VALUES, "t", msgspec.msgpack.encode([1, 1])), "values of 't'"),
    "values": (lambda store: store.delete(VALUES), "values of 'u'"),
    "odd value": (lambda store: store.hset(VALUES, "odd", msgspec.msgpack.encode([1, 1])), "no message has it"),
    "topics": (lambda store: store.delete(TOPICS), "topics of "),
    "minute": (lambda store: store.hdel(key_of(MINUTE), entry_of(MINUTE)), "rollup m"),
    "hour": (lambda store: store.delete(key_of(HOUR)), "rollup h"),
    "day": (lambda store: store.hset(key_of(DAY), entry_of(DAY), b"\0" * 28), "rollup d"),
    "odd minute": (lambda store: store.hset(key_of(MINUTE), "59", b"\1" * 28), "no message has it"),
    "names": (lambda store: store.zrem(schema.DEVICES_NAMES, "a{1}"), "lists of devices"),
    "seen": (lambda store: store.zadd(schema.DEVICES_SEEN, {"a{1}": 5}), "lists of devices"),
    "fleet messages": (lambda store: store.hincrby(schema.FLEET, "messages", 3), "messages are 403"),
    "fleet bytes": (lambda store: store.hincrby(schema.FLEET, "bytes", -3), "bytes are"),
    "chunk": (lose_chunk, "missing in the history"),
    "entry of the log": (leave_out_last_chunk, "not in the views"),
    "chunk that cannot be read": (
        lambda store: store.xadd(HISTORY, {"f": b"x", "i": b"\x90", "n": 1}, f"{now_ms()}-0"),
        "cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BREAKS))
def test_what_is_broken_is_found_and_mended(here: Installation, capsys: pytest.CaptureFixture[str], name: str) -> None:
    fill(here)
    before = everything(here)
    whole = here.query.messages("a{1}", 1000).rows
    breaks, words = BREAKS[name]
    breaks(here.redis)
    assert check(here.settings, repairs=False) > 0
    assert words in capsys.readouterr().out
    assert check(here.settings, repairs=True) > 0
    assert "repaired" in capsys.readouterr().out
    assert check(here.settings, repairs=False) == 0, capsys.readouterr().out
    assert everything(here) == before
    assert here.query.messages("a{1}", 1000).rows == whole


def test_what_is_right_stays(here: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    fill(here)
    before = everything(here)
    assert check(here.settings, repairs=True) == 0
    said = capsys.readouterr().out
    assert "2 devices checked." in said
    assert "400 messages of the log checked." in said
    assert "No differences." in said
    assert everything(here) == before


def test_views_of_which_messages_were_cut_off_are_right(here: Installation) -> None:
    here.settings = here.settings.replace(history_messages=50)
    fill(here)
    assert int(here.redis.hget(RECORD, "history_count") or 0) < 200
    here.redis.hincrby(key_of(HOUR), "none", 0)
    here.redis.hdel(key_of(HOUR), "none")
    assert check(here.settings, repairs=False) == 0


def test_rollups_that_were_shed_to_make_room_stay_so(here: Installation) -> None:
    fill(here)
    here.redis.delete(key_of(MINUTE))
    here.redis.hset(schema.RETENTION, "rollups", 1)
    assert check(here.settings, repairs=False) == 0
    here.redis.delete(schema.RETENTION)
    assert check(here.settings, repairs=False) > 0


def test_what_waits_in_the_log_is_no_difference(here: Installation) -> None:
    fill(here)
    here.commit([message("b", {"t": 1})])
    assert check(here.settings, repairs=False) == 0


def test_its_exit_status_tells(here: Installation) -> None:
    fill(here)
    assert here.run("check").returncode == 0
    here.redis.hset(RECORD, "history_count", 7)
    done = here.run("check")
    assert done.returncode == 1
    assert b"1 differences. --repair" in done.stdout


def test_many_differences_are_counted_not_shown(here: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    here.publish(*(message(f"d{n:03}", {"t": n}) for n in range(150)))
    for key in here.redis.keys("d:*:record"):
        here.redis.hset(key, "history_count", 9)
    assert check(here.settings, repairs=False) == 150
    said = capsys.readouterr().out
    assert said.count("history_count") == 100
    assert "150 differences" in said


def test_after_an_import_all_is_right(here: Installation, there: Installation) -> None:
    fill(here)
    lines = here.export().splitlines(keepends=True)
    for some in (lines[100:], lines):
        assert there.run("import", "-", stdin=b"".join(some)).returncode == 0
        assert check(there.settings, repairs=False) == 0
    assert json.loads(lines[0])["device"] == "a{1}"


async def test_an_hour_that_has_just_passed_its_age_is_not_wrong(here: Installation) -> None:
    """It goes with its hash, which has hours that are not too old yet."""
    fill_hours(here)
    await here.project()
    ages = ages_s(here.settings)
    async with contextlib.aclosing(connect_async(here.settings)) as client:
        for late_ms in (0, 1, HOUR.ms):
            report = await DeviceCheck(client, ages, START_MS + ages[HOUR] * 1000 + late_ms).check("a")
            assert report is not None
            assert report.differences == []


def fill_hours(installation: Installation) -> None:
    for hour in range(-6, 1):
        at_ms = START_MS + hour * HOUR.ms
        installation.commit([message("a", {"t": hour}, at_ms=at_ms)], at_ms)
