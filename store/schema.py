"""Names of the keys in Redis, and what lies behind each. Pure: no connection, no clock.

    {log}:entries             stream   ingest log; field `f` = a frame of messages (model.encode_frame)
    {log}:projector           string   NODE that projects the log; a lease
    {log}:committed:NODE      string   number of NODE's last commit; makes a retried commit harmless
    {log}:sessions            zset     every session that outlives its connection, by when it expires (ms)
    {log}:session:CLIENT      hash     expiry (s), sent (sequence number), queued_bytes,
                                       began (token of the connection that began it)
    {log}:subscriptions:CLIENT hash    topic filter -> session_store.encode_options of its subscription
    {log}:queue:CLIENT        stream   what waits or is unacknowledged; entry id 0-N,
                                       fields `d` = session_store.QueueEntry, `t` = since when it waits (ms)
    {log}:received:CLIENT     set      QoS 2 packet identifiers received and not yet released
    {log}:released:CLIENT     set      sequence numbers of queue entries whose PUBREC came
    {log}:retained            hash     topic name -> VERSION:frame of one message
    {log}:retained:index      zset     the same topic names, all at score 0: found by literal prefix

    {log}:accounts            hash     bytes of all `retained` messages, of all `queues`, of `routes` (the stream of changes);
                                       retained_version: grows with each commit that changes retained messages

    {log}:outlet:NAME         hash     how far an outlet (mongodb, influxdb) is, see `outlet_state.OutletState`
    {log}:writes:NAME         string   NODE that writes to that outlet; a lease

    {log}:members             zset     NODE by its last heartbeat, by the store's clock (ms)
    {log}:member:NODE         hash     lost: how many of its clients other nodes have taken over; inbox_bytes; missed: messages
                                       that its full inbox did not take. There while NODE may write
    {log}:lost:NODE           list     the last of those clients
    {log}:inbox:NODE          stream   what other nodes' commits have for NODE, see `cluster.read_inbox`
    {log}:owners              hash     client id -> NODE that serves it, or served it last while its session lasts
    {log}:owned:NODE          set      the same the other way round
    {log}:wills:NODE          hash     c:CLIENT, d:CLIENT (due) -> cluster.StoredWill behind `1` if it has a delay, else `0`
    {log}:dead                set      NODEs given up whose clients wait for another node to adopt them
    {log}:adopting:NODE       string   who adopts them; a lease
    {log}:routes              stream   changes of who wants what; entry id 0-VERSION, field `c`
    {log}:routes:version      string   the last of these versions
    {log}:routes-of:NODE      hash     topic filter -> how many of NODE's clients share it (1 where it is not shared)

    d:{DEVICE}:record         hash     see RECORD_FIELDS
    d:{DEVICE}:values         hash     field path -> msgpack [value, ts_ms]; last value of each JSON field
    d:{DEVICE}:topics         hash     topic name -> msgpack [ts_ms, qos, retain, payload head, payload bytes]
    d:{DEVICE}:history        stream   recent messages; entry id = id of its first message,
                                       fields `f` = frame, `i` = msgpack list of their [ms, seq] ids, `n` = count
    d:{DEVICE}:m:N:FIELD      hash     minute of hour N (0-59) -> little-endian min, max, sum (doubles), count (u32)
    d:{DEVICE}:h:N:FIELD      hash     the same by hour of 5 days (0-119)
    d:{DEVICE}:d:N:FIELD      hash     the same by day, in UTC, of 100 days (0-99)

    {devices}:seen            zset     every device by last message (ms)
    {devices}:names           zset     every device at score 0: found by prefix
    {devices}:admission       hash     refused_to: id of the last message up to which no device is new, see admit.lua
    {fleet}:record            hash     see FLEET_FIELDS
    {fleet}:imported          hash     device -> how many of its imported messages and bytes the totals count
    {fleet}:rate              hash     start of a 10 s slot (s) -> messages; kept for two hours
    {fleet}:retention         hash     what was shed to make room, see `retention_state.RetentionState`
    {fleet}:memory            hash     time (s) -> bytes that Redis used then; kept for a day

    {nodes}:alive             zset     NODE by last heartbeat (ms)
    {nodes}:info:NODE         hash     what a node says of itself; gone NODE_TTL_S after its last heartbeat
    {nodes}:presence:NODE     zset     devices connected at NODE by since when (ms); gone likewise

N counts such spans since the epoch. A rollup's hash has at most 128 entries: so many Redis keeps in one packed piece.
Braces are Redis Cluster hash tags: what one script touches shares one tag.
"""

from __future__ import annotations

from typing import NamedTuple

LOG = "{log}:entries"
LOG_FIELD = "f"
PROJECTOR = "{log}:projector"
RETAINED = "{log}:retained"
RETAINED_INDEX = "{log}:retained:index"
ACCOUNTS = "{log}:accounts"
SESSIONS = "{log}:sessions"
MEMBERS = "{log}:members"
OWNERS = "{log}:owners"
DEAD = "{log}:dead"
ROUTES = "{log}:routes"
ROUTES_VERSION = "{log}:routes:version"
DEVICES_SEEN = "{devices}:seen"
DEVICES_NAMES = "{devices}:names"
DEVICES_ADMISSION = "{devices}:admission"
FLEET = "{fleet}:record"
FLEET_RATE = "{fleet}:rate"
RETENTION = "{fleet}:retention"
MEMORY = "{fleet}:memory"
FLEET_IMPORTED = "{fleet}:imported"
NODES = "{nodes}:alive"

HEARTBEAT_S = 2
NODE_TTL_S = 6
RATE_SLOT_S = 10
MAX_FIELDS = 64  # JSON fields kept of one device: its first ones
MAX_TOPICS = 64  # topics kept of one device: its first ones
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


class Unit(NamedTuple):
    """A unit of time that numbers are rolled up by: its letter in keys, its length, and how many of it a hash holds."""

    letter: str
    ms: int
    span: int


MINUTE, HOUR, DAY = Unit("m", MINUTE_MS, 60), Unit("h", HOUR_MS, 120), Unit("d", DAY_MS, 100)
UNITS = (MINUTE, HOUR, DAY)

RECORD_FIELDS = (
    "first_seen", "last_seen", "messages", "bytes", "client_id", "position", "history_count", "history_bytes",
    "state_bytes", "imported_messages", "imported_bytes", "gap"
)  # fmt: skip
"""Of a device's record: two times in ms, two counters (bytes are those of payloads), who published last, the id of
the last message applied, what the history holds, and the bytes of values and topics. Where messages were imported: how
many of those counted, and two ids between which no message has been counted."""

FLEET_FIELDS = ("messages", "bytes", "entries", "log_bytes", "position", "mark", "mark_bytes", "trim", "trim_bytes")
"""Of the fleet's record: counters of messages, payload bytes, log entries and log bytes projected; the id of the last
message projected; two ids behind it with `log_bytes` as it was there. The log is trimmed before `trim`."""


def committed(node_id: str) -> str:
    """Key of the number of a node's last commit."""
    return f"{{log}}:committed:{node_id}"


def outlet(name: str) -> str:
    """Key of what an outlet of the log says of itself."""
    return f"{{log}}:outlet:{name}"


def outlet_lease(name: str) -> str:
    """Key of who writes to an outlet."""
    return f"{{log}}:writes:{name}"


def session(client_id: str) -> str:
    """Key of what is kept of a session."""
    return f"{{log}}:session:{client_id}"


def subscriptions(client_id: str) -> str:
    """Key of a session's subscriptions."""
    return f"{{log}}:subscriptions:{client_id}"


def queue(client_id: str) -> str:
    """Key of the messages that wait for a session."""
    return f"{{log}}:queue:{client_id}"


def received(client_id: str) -> str:
    """Key of a client's unreleased QoS 2 packet identifiers."""
    return f"{{log}}:received:{client_id}"


def released(client_id: str) -> str:
    """Key of the queue entries that only PUBREL may follow."""
    return f"{{log}}:released:{client_id}"


def of_node(part: str, node_id: str) -> str:
    """Key of what the nodes know of one another: member, lost, inbox, owned, wills, adopting or routes-of a node."""
    return f"{{log}}:{part}:{node_id}"


def device(device_id: str, part: str) -> str:
    """Key of one part of a device: record, values, topics or history."""
    return f"d:{{{_tag(device_id)}}}:{part}"


def device_of(key: str) -> str:
    """Return the device that a key of one belongs to."""
    tag = key[key.index("{") + 1 : key.index("}")]
    return tag.replace("%7B", "{").replace("%7D", "}").replace("%25", "%")


def rollups(device_id: str, unit: Unit, number: int, field: str) -> str:
    """Key of one field's rollups by a unit: those of its `number`-th span since the epoch."""
    return f"d:{{{_tag(device_id)}}}:{unit.letter}:{number}:{field}"


def node_info(node_id: str) -> str:
    """Key of what a node says of itself."""
    return f"{{nodes}}:info:{node_id}"


def presence(node_id: str) -> str:
    """Key of the devices connected at a node."""
    return f"{{nodes}}:presence:{node_id}"


def _tag(device_id: str) -> str:
    # A brace would end the hash tag early and scatter one device over slots.
    if "}" not in device_id and "{" not in device_id and "%" not in device_id:
        return device_id
    return device_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
