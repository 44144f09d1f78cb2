from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import pytest
from installation import message, now_ms

from store.times import parse_time_ms, rfc3339

if TYPE_CHECKING:
    from pathlib import Path

    from installation import Installation

ODD_NAMES = ['say "hi"', "a,b", "a/b", "{x}", "line\nbreak", "cr\r\nlf", "ä 💡", "=1+1", "'quoted", "%7B", "tab\t"]


def fill(installation: Installation, messages: int = 600) -> None:
    """Publish for three devices by turns, in several commits."""
    for start in range(0, messages, 100):
        some = [message(f"d{n % 3}", {"n": n}, topic=f"t/{n % 4}") for n in range(start, min(start + 100, messages))]
        installation.publish(*some)


def test_lines_are_by_device_then_by_id(here: Installation) -> None:
    fill(here)
    rows = [json.loads(line) for line in here.export().splitlines()]
    assert [row["device"] for row in rows] == ["d0"] * 200 + ["d1"] * 200 + ["d2"] * 200
    assert [json.loads(row["payload"]["text"])["n"] for row in rows] == [
        n for start in range(3) for n in range(start, 600, 3)
    ]
    assert rows[0].keys() == {"device", "id", "ts", "topic", "qos", "retain", "client", "payload"}
    stored = here.query.messages("d0", 1000).rows[-1]
    assert (rows[0]["id"], rows[0]["ts"]) == (str(stored.id), rfc3339(stored.ts_ms))


def test_a_line_holds_every_part_of_a_message(here: Installation) -> None:
    some = message("d", b"\xff\x00", flags=0b1110)
    some.properties = b"\x03\x01\x01\xff"
    here.publish(some, message("d", b""))
    first, second = (json.loads(line) for line in here.export().splitlines())
    assert (first["qos"], first["retain"], first["dup"], first["properties"]) == (2, True, True, "AwEB/w==")
    assert first["payload"] == {"base64": "/wA="}
    assert second["payload"] == {"text": ""}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--device", "d2", "--device", "d0"), {"d0", "d2"}),
        (("--search", "d1"), {"d1"}),
        (("--search", "e"), set()),
        (("--topic", "devices/+/t/1"), {"d0", "d1", "d2"}),
        (("--device", "d1", "--topic", "devices/d0/#"), set()),
        (("--to", "2020-01-01T00:00:00Z"), set()),
        (("--from", "2020-01-01T00:00:00Z"), {"d0", "d1", "d2"}),
    ],
)
def test_selections(here: Installation, arguments: tuple[str, ...], expected: set[str]) -> None:
    fill(here, 60)
    rows = [json.loads(line) for line in here.export(*arguments).splitlines()]
    assert {row["device"] for row in rows} == expected
    if arguments == ("--topic", "devices/+/t/1"):
        assert all(row["topic"].endswith("t/1") for row in rows)


def test_times_are_those_of_receipt(here: Installation) -> None:
    start_ms = now_ms() - 10_000
    here.publish(*(message("d", {"n": n}, at_ms=start_ms + n * 1000) for n in range(10)))
    lines = here.export("--from", rfc3339(start_ms + 3000), "--to", str(start_ms + 7000)).splitlines()
    assert [json.loads(json.loads(line)["payload"]["text"])["n"] for line in lines] == [3, 4, 5, 6]


def test_csv_reads_as_tables_do(here: Installation) -> None:
    for name in ODD_NAMES:
        here.publish(message(name, name.encode()), message(name, b"\xff"))
    text = here.export("--format", "csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["device"].removeprefix("'") for row in rows} == {*ODD_NAMES}
    for row in rows:
        if row["encoding"] == "text":
            assert row["payload"] == row["device"] == row["client"]
        else:
            assert row["payload"] == "/w=="
    assert not any(row["device"].startswith(("=", "+", "-", "@")) for row in rows)


def test_csv_leaves_numbers_as_they_are(here: Installation) -> None:
    here.publish(*(message("d", text) for text in (b"-12.5", b"+3", b"-1e-9", b"-1+1", b"@SUM(A1)", b"\t=1")))
    rows = list(csv.DictReader(io.StringIO(here.export("--format", "csv").decode(), newline="")))
    assert [row["payload"] for row in rows] == ["-12.5", "+3", "-1e-9", "'-1+1", "'@SUM(A1)", "'\t=1"]


@pytest.mark.parametrize("name", ["ndjson", "csv"])
def test_a_cut_export_is_gone_on_with(here: Installation, tmp_path: Path, name: str) -> None:
    for odd in ODD_NAMES:
        here.publish(*(message(odd, f'{n}\r\n"{odd}"'.encode()) for n in range(20)))
    whole = here.export("--format", name)
    file = tmp_path / "export"
    for size in (0, 1, 60, 80, *range(len(whole) // 9, len(whole), len(whole) // 9), len(whole)):
        file.write_bytes(whole[:size])
        done = here.run("export", "--format", name, "--output", str(file), "--resume")
        assert done.returncode == 0, done.stderr.decode()
        assert file.read_bytes() == whole


def test_goes_on_after_a_place(here: Installation) -> None:
    fill(here, 60)
    lines = here.export().splitlines(keepends=True)
    place = json.loads(lines[24])
    assert here.export("--after", f"{place['device']},{place['id']}").splitlines(keepends=True) == lines[25:]


def test_progress_is_told(here: Installation) -> None:
    fill(here, 60)
    assert re.fullmatch(rb"60 messages, [\d,]+/s\n", here.run("export").stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--resume",), "--output"),
        (("--output", "/nowhere/export"), "cannot be written"),
        (("--from", "yesterday"), "not a time"),
        (("--after", "d"), "DEVICE,ID"),
    ],
)
def test_what_cannot_be_done_is_said(here: Installation, arguments: tuple[str, ...], words: str) -> None:
    done = here.run("export", *arguments)
    assert done.returncode in (1, 2)
    assert words in done.stderr.decode()


def test_a_file_is_never_overwritten(here: Installation, tmp_path: Path) -> None:
    file = tmp_path / "export"
    file.write_text("something else\n")
    assert b"exists already" in here.run("export", "--output", str(file)).stderr
    assert b"cannot be gone on with" in here.run("export", "--output", str(file), "--resume").stderr
    assert file.read_text() == "something else\n"


def test_without_a_store_it_says_so(here: Installation) -> None:
    done = here.run("export", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert b"Redis does not do it" in done.stderr
    done = here.run("export", REDIS_URL="")
    assert done.returncode == 2
    assert b"REDIS_URL is not set" in done.stderr


@pytest.mark.parametrize("ts_ms", [0, 1, 999, 1000, 1_769_860_800_123, 253_402_300_799_999])
def test_times_there_and_back(ts_ms: int) -> None:
    assert parse_time_ms(rfc3339(ts_ms)) == ts_ms
