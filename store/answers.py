"""What the store answers to the dashboard: plain, frozen data; the questions are in `query.py`.

Nothing here does I/O. Times are milliseconds since the epoch (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from store.model import MessageId

T = TypeVar("T")
Status = Literal["online", "offline", "quiet"]

MAX_PAGE = 1000
MAX_POINTS = 2000


class LongHistoryUnavailable(Exception):  # noqa: N818  it is a state of a server, as HTTP names it
    """The long history (MongoDB) did not answer, or not in time."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows and the cursor that continues after them; `next` None at the end.

    `is_partial`: the long history had to answer, and did not or was behind; the same question later may find more.
    """

    rows: list[T]
    next: str | None
    is_partial: bool = False


@dataclass(frozen=True)
class DeviceSummary:
    """A row of the device list."""

    id: str
    is_connected: bool
    is_quiet: bool
    last_seen_ms: int
    messages: int


@dataclass(frozen=True)
class Value:
    """The last value of one field (dotted path; scalar JSON) and when it was received."""

    value: Any
    ts_ms: int


@dataclass(frozen=True)
class TopicState:
    """The last message of one topic; `payload_head` holds at most its first 256 bytes of `payload_bytes`."""

    topic_name: str
    ts_ms: int
    qos: int
    is_retain: bool
    payload_head: bytes
    payload_bytes: int


@dataclass(frozen=True)
class Device:
    """One device's record. `connected_since_ms` is None while it is not connected."""

    id: str
    is_connected: bool
    is_quiet: bool
    connected_since_ms: int | None
    first_seen_ms: int
    last_seen_ms: int
    messages: int
    bytes: int
    client_id: str
    values: dict[str, Value] = field(default_factory=dict)
    topics: list[TopicState] = field(default_factory=list)


@dataclass(frozen=True)
class StoredMessage:
    """A message of a device's history or of the live log. `properties`: those of MQTT 5, as on the wire."""

    id: MessageId
    device_id: str
    client_id: str
    ts_ms: int
    topic_name: str
    qos: int
    is_retain: bool
    payload: bytes
    is_dup: bool = False
    properties: bytes = b""


@dataclass(frozen=True)
class LiveMessages:
    """New messages, oldest first, and where to go on: `next`, as `after` of the following question.

    `has_gap`: messages before these may have been cut off the log unseen.
    """

    rows: list[StoredMessage]
    next: str
    has_gap: bool


@dataclass(frozen=True)
class SeriesPoint:
    """One bucket of a chart: start of the bucket, extremes, mean and count of its samples."""

    ts_ms: int
    min: float
    max: float
    mean: float
    count: int


@dataclass(frozen=True)
class Series:
    """A chart: its buckets with numbers, oldest first, each `bucket_ms` long. `is_partial`: as of a page."""

    points: list[SeriesPoint]
    bucket_ms: int
    is_partial: bool = False


@dataclass(frozen=True)
class FleetCounts:
    """Counters of the overview. Online devices are connected now; quiet ones sent nothing for QUIET_AFTER_S."""

    total: int
    online: int
    quiet: int
    messages: int
    bytes: int


@dataclass(frozen=True)
class NodeStatus:
    """A broker process that is alive, as its last heartbeat described it. `info` is shown as it is."""

    id: str
    container: str
    version: str
    started_ms: int
    heartbeat_ms: int
    connections: int
    messages_received: int
    info: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> dict[str, int]:
        """How often each bound was crossed since the process started, by its name; without those that were not."""
        counts = {name.removesuffix("_refused"): text for name, text in self.info.items() if name.endswith("_refused")}
        return {name.replace("_", " "): int(text) for name, text in counts.items() if text.isdecimal() and int(text)}


@dataclass(frozen=True)
class StoreStatus:
    """Health of Redis. `lag_ms`: age of the oldest message that views do not show yet (0: all shown).

    `warnings`: one plain sentence for each thing an operator should change (no persistence, eviction, memory nearly full).
    """

    version: str
    used_bytes: int
    max_bytes: int
    lag_ms: int
    lag_entries: int
    warnings: list[str]
