"""Group the numbers of messages by the documents of rollups that they belong to. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from store.documents import document_id, escape
from store.json_fields import fields_of, is_charted
from store.long_history import RollupKey, RollupState, RollupWrite
from store.schema import HOUR_MS, MAX_FIELDS

if TYPE_CHECKING:
    from broker.outlets.outlet import LoggedMessage
    from store.long_history import Aggregate

DAY_MS = 24 * HOUR_MS

Numbers = list[tuple[str, float]]
"""The numeric fields of one message, their paths escaped."""


class RollupGroup:
    """Messages of one device in one span of time, in the order of the log."""

    def __init__(self, key: RollupKey, state: RollupState | None = None) -> None:
        self.key = key
        self._state = state
        self._messages: list[tuple[str, int, Numbers]] = []

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message_id: str, number: int, numbers: Numbers) -> None:
        """Take in the next message, of hour or day `number` of the span."""
        self._messages.append((message_id, number, numbers))

    def after(self, state: RollupState) -> RollupGroup | None:
        """Return the group of the messages that a document which was read does not have; None when there are none."""
        rest = RollupGroup(self.key, state)
        rest._messages = [each for each in self._messages if each[0] > state.position]
        return rest if len(rest) else None

    def write(self) -> RollupWrite:
        """Return what the group adds: to the document's first MAX_FIELDS fields, others are left out."""
        known = self._state.fields if self._state is not None else frozenset()
        room = MAX_FIELDS - len(known)
        fields: dict[str, dict[int, Aggregate]] = {}
        for _, number, numbers in self._messages:
            for name, value in numbers:
                if name not in fields:
                    if name not in known:
                        if room <= 0:
                            continue
                        room -= 1
                    fields[name] = {}
                fields[name][number] = _merged(fields[name].get(number), value)
        return RollupWrite(self.key, self._messages[0][0], self._messages[-1][0], fields, self._state)


def rollup_groups(messages: list[LoggedMessage]) -> list[RollupGroup]:
    """Group what is charted in messages, given in the order of the log, by hours and by days."""
    groups: dict[RollupKey, RollupGroup] = {}
    for message_id, device_id, message in messages:
        numbers = [(escape(path), float(value)) for path, value in fields_of(message.payload) if is_charted(value)]  # type: ignore[arg-type]
        if not numbers:
            continue
        day, hour_ms = divmod(message.received_ms, DAY_MS)
        month_ms, day_of_month = _month(day)
        for unit, start_ms, number in ("hour", day * DAY_MS, hour_ms // HOUR_MS), ("day", month_ms, day_of_month):
            key = RollupKey(device_id, unit, start_ms)
            if key not in groups:
                groups[key] = RollupGroup(key)
            groups[key].add(document_id(message_id), number, numbers)
    return list(groups.values())


@lru_cache(maxsize=1024)
def _month(day: int) -> tuple[int, int]:
    """Return the start (ms) of the month of a day (since the epoch), and the day's number in it."""
    date = datetime.fromtimestamp(day * DAY_MS / 1000, UTC)
    return (day - date.day + 1) * DAY_MS, date.day


def _merged(before: Aggregate | None, value: float) -> Aggregate:
    if before is None:
        return value, value, value, 1
    low, high, total, count = before
    return min(low, value), max(high, value), total + value, count + 1
