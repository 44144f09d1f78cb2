"""Hold the log against the views and MongoDB: what it holds up to their positions has to be there (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.chunks import read_chunk
from store.documents import document_id
from store.ingest_log import decode_entry
from store.model import START, DeviceNaming, MessageId
from store.mongo import MESSAGES
from store.outlet_state import MONGODB

if TYPE_CHECKING:
    from settings import Settings
    from store.chunks import Placed
    from store.export.ndjson import Found
    from transfer.findings import Findings
    from transfer.importer import Importer
    from transfer.long_import import LongImport
    from transfer.older_messages import OlderMessages

ENTRY_STEP = 16


class LogCheck:
    """Goes through the log once, from its oldest entry. Raises redis.RedisError, PyMongoError."""

    def __init__(
        self,
        client: Any,
        settings: Settings,
        importer: Importer,
        older: OlderMessages,
        long_import: LongImport | None,
        findings: Findings,
    ) -> None:
        self._redis = client
        self._naming = DeviceNaming(settings.device_topics)
        self._importer = importer
        self._older = older
        self._long_import = long_import
        self._findings = findings
        self._checked = 0

    async def run(self) -> None:
        """Check every entry that both have passed, each for itself."""
        views_to = await self._position(schema.FLEET)
        long_to = await self._position(schema.outlet(MONGODB))
        start = "-"
        while True:
            entries = await self._redis.xrange(schema.LOG, start, "+", ENTRY_STEP)
            found = [each for log_id, fields in entries for each in self._messages(log_id, fields)]
            await self._check_views([each for each in found if each[1] <= views_to])
            if self._long_import is not None:
                await self._check_long([each for each in found if each[1] <= long_to], self._long_import)
            self._checked += len(found)
            if len(entries) < ENTRY_STEP:
                break
            start = f"({entries[-1][0].decode()}"
        await self._importer.settle()
        self._findings.note(f"{self._checked:,} messages of the log checked.")

    async def _position(self, key: str) -> MessageId:
        stored = await self._redis.hget(key, "position")
        return START if stored is None else MessageId.parse(stored.decode())

    def _messages(self, log_id: bytes, fields: dict[bytes, bytes]) -> list[Found]:
        try:
            messages = decode_entry(fields.get(schema.LOG_FIELD.encode()))
        except ValueError:  # whoever reads the log leaves it out, and says so
            return []
        device_of = self._naming.device_of
        return [
            (device_of(each.topic_name, each.client_id), MessageId.of(log_id, index), each)
            for index, each in enumerate(messages)
        ]

    async def _check_views(self, found: list[Found]) -> None:
        devices: dict[str, list[Placed]] = {}
        for device_id, message_id, message in found:
            devices.setdefault(device_id, []).append((message_id, message))
        for device_id, messages in devices.items():
            await self._check_device(device_id, messages)

    async def _check_device(self, device_id: str, messages: list[Placed]) -> None:
        key = schema.device(device_id, "history")
        before = await self._redis.xrevrange(key, str(messages[0][0]), "-", 1)
        start = before[0][0] if before else "-"
        entries = await self._redis.xrange(key, start, str(messages[-1][0]))
        kept = {message_id for entry in entries for message_id, _ in read_chunk(entry)}
        missing = [each for each in messages if each[0] not in kept]
        if not missing:
            return
        oldest = await self._redis.xrange(key, "-", "+", 1)
        position, counted = await self._redis.hmget(schema.device(device_id, "record"), ["position", "messages"])
        last = MessageId.parse((position or b"0-0").decode())
        first = MessageId.parse(oldest[0][0].decode()) if oldest else last
        is_whole = int(counted or 0) == await self._kept(key)
        uncounted = missing if is_whole else [each for each in missing if each[0] > last]
        lost = [each for each in missing if not is_whole and first < each[0] <= last]
        await self._uncounted(device_id, uncounted)
        await self._lost(device_id, lost)

    async def _kept(self, key: str) -> int:
        """Return how many messages a history really holds."""
        kept, start = 0, "-"
        while entries := await self._redis.xrange(key, start, "+", ENTRY_STEP):
            kept += sum(int(fields[b"n"]) for _, fields in entries)
            start = f"({entries[-1][0].decode()}"
        return kept

    async def _uncounted(self, device_id: str, messages: list[Placed]) -> None:
        if messages and self._findings.repairs:
            await self._importer.write_views([(device_id, *each) for each in messages])
        self._say(device_id, messages, "of the log are not in the views")

    async def _lost(self, device_id: str, messages: list[Placed]) -> None:
        if messages and self._findings.repairs:
            await self._older.restore(device_id, messages)
        self._say(device_id, messages, "of the log are missing in the history")

    async def _check_long(self, found: list[Found], long_import: LongImport) -> None:
        ids = [document_id(message_id) for _, message_id, _ in found]
        cursor = long_import.database[MESSAGES].find({"_id": {"$in": ids}}, {"_id": 1})
        there = {each["_id"] async for each in cursor}
        missing = [each for each, mongo_id in zip(found, ids, strict=True) if mongo_id not in there]
        if missing and self._findings.repairs:
            await long_import.write(missing)
        for device_id in dict.fromkeys(each[0] for each in missing):
            own = [(message_id, message) for device, message_id, message in missing if device == device_id]
            self._say(device_id, own, "of the log are not in MongoDB")

    def _say(self, device_id: str, messages: list[Placed], what: str) -> None:
        if messages:
            where = f"{len(messages)} messages from {messages[0][0]} on {what}"
            self._findings.add(f"device {device_id!r}", where, is_repaired=self._findings.repairs)
