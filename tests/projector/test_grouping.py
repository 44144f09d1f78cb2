from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.projector.grouping import CHUNK_MESSAGES, GROUP_MESSAGES, DeviceGroups, FleetTotals
from store.model import START, DeviceNaming, Message, MessageId, decode_frame
from store.schema import MINUTE_MS

if TYPE_CHECKING:
    from store.views import DeviceWrite

NAMING = DeviceNaming(("devices/{device}/#",))
Samples = dict[tuple[str, str, int], list[int]]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    device = draw(st.sampled_from("abc"))
    fields = draw(
        st.dictionaries(st.sampled_from(["t", "h", "p"]), st.integers(-1000, 1000) | st.booleans(), max_size=3)
    )
    received_ms = draw(st.integers(0, 200)) * 1000 + 1_700_000_000_000
    return Message(f"devices/{device}/x", f"client-{device}", received_ms, 1, json.dumps(fields).encode())


def group(batch: list[Message], cuts: list[int]) -> list[DeviceWrite]:
    """Group one entry's messages as if read in batches that end at `cuts`."""
    writes = []
    ends = sorted({cut for cut in cuts if cut < len(batch)} | {len(batch)})
    for start, end in zip([0, *ends], ends, strict=False):
        groups = DeviceGroups()
        groups.add_entry(b"5-7", batch[start:end], NAMING, start)
        writes += [each.write() for each in groups.groups()]
    return writes


def recount(batch: list[Message]) -> Samples:
    samples: Samples = defaultdict(list)
    for message in batch:
        for path, value in json.loads(message.payload).items():
            if type(value) is int:
                samples[message.client_id[-1], path, message.received_ms // MINUTE_MS].append(value)
    return samples


@given(st.lists(messages(), min_size=1, max_size=60), st.lists(st.integers(1, 59), max_size=4))
def test_rollups_equal_a_recount_for_any_split(batch: list[Message], cuts: list[int]) -> None:
    merged: dict[tuple[str, str, int], list[tuple[float, float, float, int]]] = defaultdict(list)
    for write in group(batch, cuts):
        for path, _, minutes in write.fields:
            for minute, aggregate in minutes.items():
                merged[write.device_id, path, minute].append(aggregate)
    total = {
        key: (min(p[0] for p in parts), max(p[1] for p in parts), sum(p[2] for p in parts), sum(p[3] for p in parts))
        for key, parts in merged.items()
    }
    assert total == {key: (min(v), max(v), sum(v), len(v)) for key, v in recount(batch).items()}


@given(st.lists(messages(), min_size=1, max_size=60), st.lists(st.integers(1, 59), max_size=4))
def test_history_and_counters_are_those_of_the_log_for_any_split(batch: list[Message], cuts: list[int]) -> None:
    history: dict[str, list[tuple[MessageId, Message]]] = defaultdict(list)
    counted: dict[str, int] = defaultdict(int)
    for write in group(batch, cuts):
        counted[write.device_id] += write.messages
        for chunk in write.chunks:
            ids = [MessageId(*pair) for pair in msgspec.msgpack.decode(chunk.ids)]
            assert str(ids[0]) == chunk.id
            history[write.device_id] += zip(ids, decode_frame(chunk.frame), strict=True)
    for device in "abc":
        expected = [(MessageId.of(b"5-7", i), m) for i, m in enumerate(batch) if m.client_id == f"client-{device}"]
        assert history[device] == expected
        assert counted[device] == len(expected)


@given(st.lists(messages(), min_size=1, max_size=40), st.integers(0, 40))
def test_the_rest_after_a_position_is_what_grouping_the_rest_gives(batch: list[Message], done: int) -> None:
    groups = DeviceGroups()
    groups.add_entry(b"5-7", batch, NAMING)
    rests = DeviceGroups()
    for each in groups.groups():
        rests.add(each.device_id, each.items_after(MessageId.of(b"5-7", done)))
    expected = DeviceGroups()
    expected.add_entry(b"5-7", batch[done + 1 :], NAMING, done + 1)
    by_device = {each.device_id: each.write() for each in expected.groups()}
    assert {rest.device_id: rest.write() for rest in rests.groups()} == by_device


def test_long_groups_are_cut_and_chained() -> None:
    groups = DeviceGroups()
    groups.add_entry(b"1-0", [Message("devices/a/x", "c", n, 0, b"1") for n in range(3 * GROUP_MESSAGES)], NAMING)
    writes = [each.write() for each in groups.groups()]
    assert [write.messages for write in writes] == [GROUP_MESSAGES] * 3
    assert [write.after for write in writes] == [START, writes[0].last, writes[1].last]
    assert all(chunk.messages == CHUNK_MESSAGES for write in writes for chunk in write.chunks)


def test_totals_count_unreadable_entries_too() -> None:
    totals = FleetTotals(START)
    some = [Message("t", "c", ms, 0, b"abc") for ms in (9_999, 10_000, 10_001)]
    totals.add_entry(b"1-0", 100, 3)
    totals.add_messages(some)
    totals.add_entry(b"2-0", 50, 0)
    write = totals.write()
    assert (write.messages, write.payload_bytes, write.entries) == (3, 9, 2)
    assert write.slots == {0: 1, 10: 2}
    assert (write.first, write.last) == (MessageId(1, 0), MessageId(2, 0))
