"""Hold the rollups in MongoDB against a recount of its messages (async).

One pass over the messages of a device, in the order of their ids; a document of rollups is compared as soon as no message can
belong to it any more, so that only a few are in memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from broker.outlets.rollups import rollup_groups
from store import schema
from store.documents import document_id, read_document
from store.model import START, MessageId
from store.mongo import MESSAGES, ROLLUPS
from store.scan import LAST_ID, LATE_MS
from store.times import rfc3339
from transfer.ceiling import Ceiling
from transfer.progress import Progress
from transfer.recount import counted, merge, selector, shape, span_end_ms, with_larger

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from broker.outlets.outlet import LoggedMessage
    from settings import Settings
    from store.documents import Document
    from store.long_history import RollupKey
    from transfer.findings import Findings
    from transfer.recount import Counted, Fields

PAGE_DOCUMENTS = 1000
BY_DEVICE = [("device", 1), ("_id", 1)]


class LongCheck:
    """Checks one database. Raises PyMongoError, redis.RedisError."""

    def __init__(self, client: Any, settings: Settings, database: AsyncDatabase[Document], findings: Findings) -> None:
        self._redis = client
        self._settings = settings
        self._age_s: int = settings.long_rollup_age_s
        self._database = database
        self._findings = findings
        self._progress = Progress("messages in MongoDB")
        self._settled = START  # below it, the outlet has written all

    async def run(self) -> None:
        """Check every device that has messages there."""
        ceiling = Ceiling(self._redis, self._settings)
        await ceiling.measure()
        self._settled = ceiling.id
        last = ""
        while found := await self._database[MESSAGES].find_one(
            {"device": {"$gt": last}}, {"device": 1, "_id": 0}, sort=BY_DEVICE
        ):
            last = found["device"]
            await self._check_device(last)
        self._progress.end()
        self._findings.note(f"{self._progress.count:,} messages in MongoDB checked.")

    async def _check_device(self, device_id: str) -> None:
        spans = _OpenSpans(starts_with_device=await self._starts_with_device(device_id))
        after = ""
        while True:
            wanted = {"device": device_id, "_id": {"$gt": after}}
            page = await self._database[MESSAGES].find(wanted, sort=[("_id", 1)], limit=PAGE_DOCUMENTS).to_list()
            self._progress.add(len(page), device_id)
            spans.add([read_document(each) for each in page])
            is_end = len(page) < PAGE_DOCUMENTS
            for key in spans.complete(is_end=is_end):
                await self._compare(key, spans)
            if is_end:
                return
            after = page[-1]["_id"]

    async def _starts_with_device(self, device_id: str) -> bool:
        """Whether MongoDB still has the device's first message."""
        first = await self._database[MESSAGES].find_one({"device": device_id}, {"ts": 1}, sort=[("_id", 1)])
        first_seen = await self._redis.hget(schema.device(device_id, "record"), "first_seen")
        return first is not None and first_seen is not None and int(first["ts"]) <= int(first_seen)

    async def _compare(self, key: RollupKey, spans: _OpenSpans) -> None:
        found = spans.take(key)
        document = await self._database[ROLLUPS].find_one(selector(key))
        if document is not None and not _differs(document["fields"], found, is_exact=spans.covers(key)):
            return
        await self._compare_exactly(key, is_exact=spans.covers(key))

    async def _compare_exactly(self, key: RollupKey, *, is_exact: bool) -> None:
        """Compare up to the document's own position: the outlet may be about to add what is behind it."""
        document = await self._database[ROLLUPS].find_one(selector(key))
        position = document_id(_before(self._settled)) if document is None else document["position"]
        stored: Fields = {} if document is None else document["fields"]
        found = await counted(self._database, key, position)
        if not _differs(stored, found, is_exact=is_exact) or (document is None and self._is_forgotten(key)):
            return
        is_repaired = self._findings.repairs and await self._repair(
            key, document, position, found if is_exact else with_larger(stored, found)
        )
        span = f"{key.unit} rollups of {rfc3339(key.start_ms)[:10]}"
        self._findings.add(
            f"MongoDB, device {key.device!r}", f"{span} differ from its messages", is_repaired=is_repaired
        )

    async def _repair(self, key: RollupKey, document: Document | None, position: str, fields: Fields) -> bool:
        rollups = self._database[ROLLUPS]
        if document is None:
            try:
                await rollups.insert_one({**selector(key), "position": position, "fields": fields})
            except DuplicateKeyError:
                return False
            return True
        update = {"$set": {"fields": fields}, "$unset": {"stale": ""}}
        return bool((await rollups.update_one({**selector(key), "position": position}, update)).matched_count)

    def _is_forgotten(self, key: RollupKey) -> bool:
        return bool(self._age_s) and span_end_ms(key) < self._settled.ms - self._age_s * 1000


class _OpenSpans:
    """Days and months of one device that messages may still belong to, counted so far."""

    def __init__(self, *, starts_with_device: bool) -> None:
        self._starts_with_device = starts_with_device
        self._fields: dict[RollupKey, Counted] = {}
        self._first = START
        self._last = START

    def add(self, messages: list[LoggedMessage]) -> None:
        """Count the next messages."""
        if not messages:
            return
        if self._first == START:
            self._first = messages[0][0]
        self._last = messages[-1][0]
        for group in rollup_groups(messages):
            merge(self._fields.setdefault(group.key, {}), group.write().fields)

    def complete(self, *, is_end: bool) -> list[RollupKey]:
        """Return those that no message can belong to any more; at the end, all."""
        return [key for key in self._fields if is_end or span_end_ms(key) + LATE_MS < self._last.ms]

    def take(self, key: RollupKey) -> Fields:
        """Return one's fields, and forget it."""
        return shape(self._fields.pop(key))

    def covers(self, key: RollupKey) -> bool:
        """Whether the messages that are kept are all that ever belonged to one."""
        return self._starts_with_device or key.start_ms > self._first.ms + LATE_MS


def _before(message_id: MessageId) -> MessageId:
    return (
        MessageId(message_id.ms - 1, LAST_ID.seq)
        if message_id.seq == 0
        else MessageId(message_id.ms, message_id.seq - 1)
    )


def _differs(stored: Fields, found: Fields, *, is_exact: bool) -> bool:
    entries = {(name, number): entry for name, numbers in stored.items() for number, entry in numbers.items()}
    expected = {(name, number): entry for name, numbers in found.items() for number, entry in numbers.items()}
    if is_exact and entries.keys() != expected.keys():
        return True
    for at, entry in expected.items():
        mine = entries.get(at, {"count": 0})
        if mine["count"] < entry["count"] or (is_exact and not _is_close(mine, entry)):
            return True
    return False


def _is_close(mine: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two are equal but for the order in which their numbers were added."""
    near = max(abs(other["min"]), abs(other["max"])) * other["count"]
    is_sum = math.isclose(mine["sum"], other["sum"], abs_tol=1e-9 * near + 1e-300)
    return is_sum and all(mine[name] == other[name] for name in ("min", "max", "count"))
