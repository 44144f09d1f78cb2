"""A page of a device's messages: what its address asks for, what is found, and the addresses of the pages beside it.

Pages show the newest message first, in both directions. Times are UTC: a form without a script knows no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import abort, request

from store.model import START, MessageId
from store.scan import LAST_ID
from store.times import EPOCH
from web import current

if TYPE_CHECKING:
    from store.answers import Page, StoredMessage

MESSAGES_A_PAGE = 25
NEWEST_AT_ONCE = 25


@dataclass(frozen=True)
class MessageQuestion:
    """Which messages an address asks for; `from_` and `to` as they were written."""

    topic: str
    field: str
    from_: str
    to: str
    before: MessageId | None
    after: MessageId | None

    @classmethod
    def of_request(cls) -> MessageQuestion:
        """Read the address of this request. Aborts with 400 where an id or a time is none."""
        topic, field, from_, to = (request.args.get(name, "").strip() for name in ("topic", "field", "from", "to"))
        return cls(topic, field, from_, to, before=_end_id("before"), after=message_id("after"))

    @property
    def filters(self) -> dict[str, str]:
        """The filters as they stand in addresses."""
        given = {"topic": self.topic, "field": self.field, "from": self.from_, "to": self.to}
        return {name: text for name, text in given.items() if text}

    def ask(self, device_id: str, limit: int, **place: Any) -> Page[StoredMessage]:
        """Return messages that pass the filters."""
        return current.query().messages(
            device_id,
            limit,
            topic=self.topic or None,
            field=self.field or None,
            from_ms=_time_ms("from", self.from_),
            to_ms=_time_ms("to", self.to),
            **place,
        )


@dataclass(frozen=True)
class MessagePage:
    """Rows, newest first. `older`, `newer`: where the pages beside it are (`before`, `after`); None: there is none."""

    question: MessageQuestion
    rows: list[StoredMessage]
    older: str | None
    newer: str | None
    is_partial: bool

    @property
    def is_newest(self) -> bool:
        """Whether new messages belong on top of this page."""
        return self.newer is None and not self.question.to


def find(device_id: str, question: MessageQuestion) -> MessagePage:
    """Return the page that a question asks for; the newest where it asks for newer ones than there are."""
    if question.after is not None:
        found = question.ask(device_id, MESSAGES_A_PAGE, after=question.after, order="oldest")
        if found.next is not None:
            rows = found.rows[::-1]
            older = rows[-1].id if rows else _beside(question.after, 1)
            return MessagePage(question, rows, str(older), found.next, found.is_partial)
    found = question.ask(device_id, MESSAGES_A_PAGE, before=question.before)
    newer = None
    if question.before is not None:
        newer = str(found.rows[0].id if found.rows else _beside(question.before, -1))
    return MessagePage(question, found.rows, found.next, newer, found.is_partial)


def message_id(name: str) -> MessageId | None:
    """Return the id in a parameter. Aborts with 400 where it is none."""
    text = request.args.get(name, "")
    try:
        return MessageId.parse(text) if text else None
    except ValueError:
        abort(400, f"{name} has to be the id of a message, as in 1769860800000-0.")


def _end_id(name: str) -> MessageId | None:
    found = message_id(name)
    return found if found != START else abort(400, f"{name} has to be later than {START}: nothing is before that.")


def _beside(place: MessageId, step: int) -> MessageId:
    """Return the id just before or behind another: pages leave out the id they begin at."""
    ms, seq = place
    return MessageId(ms, seq + step) if seq + step >= 0 else MessageId(max(0, ms - 1), LAST_ID.seq)


def _time_ms(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        abort(400, f"{name} has to be a time, as in 2026-01-31T12:00.")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, (moment - EPOCH) // timedelta(milliseconds=1))
