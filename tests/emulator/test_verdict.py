"""What the ledger makes of an observer that saw too little, too much, something else, or the wrong order."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from random import Random

import pytest

from emulator.fleet import malformed
from emulator.fleet.ledger import Ledger, Source, Track
from emulator.fleet.observer import Observer, StoreObserver
from emulator.fleet.scenario import Watchers
from emulator.fleet.verdict import Findings, judge
from emulator.fleet.watcher import Watched

TOPIC = "devices/d/telemetry"


def payload(number: int) -> bytes:
    return b'{"temperature":20,"seq":%d}' % number


class Publisher:
    """Makes messages 1, 2, … of one topic and has them acknowledged."""

    def __init__(self, ledger: Ledger, qos: int = 2, *, kind: str = "telemetry") -> None:
        self.ledger = ledger
        self.track: Track = ledger.track(Source(TOPIC, "d", "d", qos, kind, qos == 2 and kind != "will"))  # type: ignore[arg-type]

    def publish(self, *payloads: bytes, is_acknowledged: bool = True) -> None:
        for each in payloads:
            number = self.ledger.make(self.track, each)
            self.ledger.note_sent(self.track, number)
            if is_acknowledged:
                self.ledger.note_acknowledged(self.track, number)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def findings(ledger: Ledger, seen: list[bytes], qos: int = 2) -> Findings:
    observer = Observer("somebody", ledger, qos)
    for each in seen:
        observer.note(TOPIC, each)
    return judge(ledger, [observer]).findings[0]


def faults(found: Findings) -> tuple[int, int, int, int]:
    return found.missing.count, found.altered.count, found.repeated.count, found.reordered.count


def test_all_as_sent_is_verified(ledger: Ledger):
    Publisher(ledger).publish(*map(payload, (1, 2, 3)))
    observer = Observer("somebody", ledger, 2)
    for number in (1, 2, 3):
        observer.note(TOPIC, payload(number))
    verdict = judge(ledger, [observer])
    assert verdict.is_verified
    assert verdict.text().splitlines()[-1] == "VERIFIED"
    assert verdict.findings[0].expected == 3


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([1, 3], (1, 0, 0, 0)),
        ([1, 2, 2, 3], (0, 0, 1, 0)),
        ([1, 3, 2], (0, 0, 0, 1)),
        ([2, 3, 1], (0, 0, 0, 1)),
        ([1, 2, 3, 1], (0, 0, 1, 0)),
        ([], (3, 0, 0, 0)),
    ],
)
def test_missing_repeated_and_reordered_messages_are_each_noticed(
    ledger: Ledger, seen: list[int], expected: tuple[int, int, int, int]
):
    Publisher(ledger).publish(*map(payload, (1, 2, 3)))
    assert faults(findings(ledger, [payload(each) for each in seen])) == expected


def test_an_altered_message_is_noticed_and_the_one_it_was_is_missing(ledger: Ledger):
    Publisher(ledger).publish(payload(1), payload(2))
    found = findings(ledger, [payload(1), payload(2).replace(b"20", b"21")])
    assert faults(found) == (1, 1, 0, 0)
    assert found.missing.first == [f"{TOPIC} seq 2"]


def test_a_wrong_verdict_names_the_first_few_and_counts_the_rest(ledger: Ledger):
    Publisher(ledger).publish(*map(payload, range(1, 11)))
    text = judge(ledger, [Observer("somebody", ledger, 2)]).text()
    assert f"  missing: {TOPIC} seq 1\n" in text
    assert "  missing: … and 5 more" in text
    assert text.splitlines()[-1] == "NOT AS SENT"


def test_at_qos_1_a_message_may_come_again_but_its_first_appearance_keeps_the_order(ledger: Ledger):
    Publisher(ledger, qos=1).publish(*map(payload, (1, 2, 3)))
    assert faults(findings(ledger, [payload(each) for each in (1, 2, 1, 2, 3)])) == (0, 0, 0, 0)


def test_a_subscription_at_qos_1_may_repeat_messages_of_qos_2(ledger: Ledger):
    Publisher(ledger, qos=2).publish(payload(1))
    assert faults(findings(ledger, [payload(1)] * 2, qos=1)) == (0, 0, 0, 0)
    assert faults(findings(ledger, [payload(1)] * 2, qos=2)) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("watchers", "expected"),
    [
        (Watchers(1), (1, 0, 1, 1)),
        (Watchers(1, members=3), (1, 0, 1, 0)),
        (Watchers(1, is_persistent=False), (0, 0, 0, 1)),
    ],
    ids=["lasting", "group", "not lasting"],
)
def test_a_group_has_no_order_and_a_session_that_does_not_last_misses_some(
    ledger: Ledger, watchers: Watchers, expected: tuple[int, int, int, int]
):
    Publisher(ledger).publish(*map(payload, (1, 2, 3)))
    watched = Watched("somebody", ledger, watchers)
    for number in (3, 2, 2):
        watched.note(TOPIC, payload(number))
    assert faults(judge(ledger, [watched]).findings[0]) == expected


def test_what_was_not_acknowledged_need_not_be_there_but_not_twice_either(ledger: Ledger):
    Publisher(ledger).publish(payload(1), is_acknowledged=False)
    assert faults(findings(ledger, [])) == (0, 0, 0, 0)
    assert faults(findings(ledger, [payload(1)] * 2)) == (0, 0, 1, 0)


def test_qos_0_promises_nothing(ledger: Ledger):
    Publisher(ledger, qos=0).publish(payload(1))
    assert faults(findings(ledger, [])) == (0, 0, 0, 0)


def test_malformed_payloads_are_told_apart(ledger: Ledger):
    random = Random(1)
    sent = [malformed.payload(kind, seq, random) for seq, kind in enumerate([*malformed.MALFORMATIONS, "binary"], 1)]
    Publisher(ledger).publish(*sent)
    assert faults(findings(ledger, sent)) == (0, 0, 0, 0)
    assert faults(findings(ledger, sent[:2] + sent[3:])) == (1, 0, 0, 0)


def test_equal_payloads_are_counted(ledger: Ledger):
    Publisher(ledger).publish(b"", b"", b"")
    assert faults(findings(ledger, [b""] * 2)) == (1, 0, 0, 0)
    assert faults(findings(ledger, [b""] * 3)) == (0, 0, 0, 0)
    assert faults(findings(ledger, [b""] * 4)) == (0, 0, 1, 0)


def test_an_echo_that_carries_the_number_of_its_command_is_found_by_what_it_says(ledger: Ledger):
    Publisher(ledger, qos=1).publish(payload(3), payload(3), payload(1))
    assert faults(findings(ledger, [payload(3), payload(3), payload(1)])) == (0, 0, 0, 0)
    assert faults(findings(ledger, [payload(3), payload(1)])) == (1, 0, 0, 0)


def test_wills_are_told_apart_from_the_status_on_the_same_topic(ledger: Ledger):
    will = b'{"online":false,"will":1}'
    Publisher(ledger, kind="status").publish(b'{"online":true,"seq":1}')
    Publisher(ledger, kind="will").publish(will, b'{"online":false,"will":2}', is_acknowledged=False)
    ledger.note_acknowledged(ledger.tracks[1], 1)
    found = findings(ledger, [b'{"online":true,"seq":1}'])
    assert (found.expected, found.wills, found.missing_wills.first) == (1, 1, [f"{TOPIC} will 1"])
    assert faults(findings(ledger, [b'{"online":true,"seq":1}', will])) == (0, 0, 0, 0)
    assert faults(findings(ledger, [b'{"online":true,"seq":1}', will, will])) == (0, 0, 1, 0)


def test_what_a_history_cannot_hold_any_more_is_not_missing(ledger: Ledger):
    Publisher(ledger).publish(*map(payload, range(1, 7)))
    store = StoreObserver(ledger)
    for number in (1, 2):
        store.followed.note(TOPIC, payload(number))
    for number in (4, 6):
        store.note(TOPIC, payload(number))
    assert faults(judge(ledger, [store]).findings[0]) == (4, 0, 0, 0)
    store.trimmed.add("d")
    found = judge(ledger, [store]).findings[0]
    assert (found.beyond_retention, found.missing.first) == (2, [f"{TOPIC} seq 3", f"{TOPIC} seq 5"])
    store.unread.add("d")
    verdict = judge(ledger, [store])
    assert verdict.findings[0].unverifiable.first == [f"{TOPIC} seq 3"]
    assert verdict.findings[0].missing.first == [f"{TOPIC} seq 5"]


def test_a_lost_session_is_a_fault(ledger: Ledger):
    verdict = replace(judge(ledger, []), sessions_lost=2)
    assert verdict.text().splitlines() == [
        "2 lasting sessions were not there any more at a reconnect",
        "NOT AS SENT",
    ]


def test_a_full_ledger_says_so_and_accuses_nobody():
    ledger = Ledger(max_messages=2)
    Publisher(ledger).publish(*map(payload, (1, 2, 3)))
    observer = Observer("somebody", ledger, 2)
    for number in (1, 2, 3):
        observer.note(TOPIC, payload(number))
    verdict = judge(ledger, [observer])
    assert faults(verdict.findings[0]) == (0, 0, 0, 0)
    assert verdict.text().splitlines()[-2:] == [
        "not verifiable: 1 messages beyond what the ledger holds",
        "NOT VERIFIABLE",
    ]


def test_a_ledger_without_anybody_to_judge_keeps_nothing():
    ledger = Ledger(max_messages=0)
    publisher = Publisher(ledger)
    publisher.publish(payload(1))
    assert (publisher.track.made, publisher.track.recorded, ledger.unrecorded) == (1, 0, 0)


def test_the_file_has_a_line_for_each_event():
    file = io.StringIO()
    Publisher(Ledger(file=file), qos=1).publish(payload(1))
    made, acknowledged = (json.loads(line) for line in file.getvalue().splitlines())
    assert {**made, "at_ms": 0} == {
        "event": "publish", "at_ms": 0, "topic": TOPIC, "seq": 1, "device": "d", "client": "d", "qos": 1,
        "kind": "telemetry", "bytes": len(payload(1)), "digest": "8243363a788d36fc",
    }  # fmt: skip
    assert (acknowledged["event"], acknowledged["topic"], acknowledged["seq"]) == ("acknowledge", TOPIC, 1)
    assert acknowledged["at_ms"] >= made["at_ms"]
