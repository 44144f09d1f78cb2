"""Every setting of the application: one table, one reader, one help text.

An entry point calls `load()` once and passes the frozen result on; nothing else reads the
environment. A bad environment is reported whole: one line for each bad value.
Source of the platform's own variables: the platform's run-time environment (12-factor, III. Config).
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from store.address import parse_address
from store.influx_address import parse_influx_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Process = Literal["tcp", "web", "store"]
"""`store`: its command line, which reads what `tcp` does; devices need not be able to connect then."""


class SettingsError(ValueError):
    """The environment cannot be used; `problems` holds one line for each bad value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def _patterns(value: str) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in value.split(",") if part.strip())
    for pattern in patterns:
        levels = pattern.split("/")
        if levels.count("{device}") != 1:
            raise ValueError(f"{pattern!r} needs {{device}} as exactly one whole level, as in devices/{{device}}/#")
        if "#" in levels[:-1]:
            raise ValueError(f"{pattern!r} may have # only as its last level")
    return patterns


def _between(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise ValueError(f"use a whole number from {low} to {high}")
        return int(value)

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"use one of {', '.join(choices)}")
        return value

    return parse


def _redis_url(value: str) -> str:
    parse_address(value)
    return value


def _mongo_url(value: str) -> str:
    if value.startswith("mongodb+srv://"):  # to read it would ask the name service
        return value
    from pymongo.errors import PyMongoError  # noqa: PLC0415  most installations have no MongoDB
    from pymongo.uri_parser import parse_uri  # noqa: PLC0415

    try:
        parse_uri(value)
    except PyMongoError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return value


def _influx_url(value: str) -> str:
    parse_influx_url(value)
    return value


def _influx_token(value: str) -> str:
    if not re.fullmatch("[!-~]+", value):
        raise ValueError("a token has no spaces and no characters beyond ASCII")
    return value


def _measurement(value: str) -> str:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError("use letters, digits, '.', '-' and '_', and begin with a letter or a digit")
    return value


def _pem(value: str) -> str:
    """Return PEM text; what does not look like it is the path of a file that holds it."""
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text("ascii")
    except (OSError, ValueError) as error:  # ValueError: a name no file can have, or bytes that no text has
        raise ValueError(f"it is neither PEM text nor a file with it ({getattr(error, 'strerror', error)})") from None


def _certificates(value: str) -> str:
    text = _pem(value)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError("it does not hold certificates in PEM form") from None
    return text


def _private_key(value: str) -> str:
    text = _pem(value)
    if not re.search("-----BEGIN ([A-Z]+ )?PRIVATE KEY-----", text):
        raise ValueError("it does not hold a private key in PEM form")
    return text


@dataclass(frozen=True)
class Setting:
    """One row of the table. `default` None means: has to be set where `required_by` says so."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    unit: str = ""
    is_secret: bool = False
    aliases: tuple[str, ...] = ()
    required_by: tuple[Process, ...] = ()
    used_by: tuple[Process, ...] = ("tcp", "web")


TCP: tuple[Process, ...] = ("tcp",)
WEB: tuple[Process, ...] = ("web",)
KIB, MIB, GIB = 1024, 1024 * 1024, 1024 * 1024 * 1024
MAX_DOCUMENT_PAYLOAD_BYTES = 15_000_000  # a document has 16 MiB, and its fields and names want room too

TABLE: tuple[Setting, ...] = (
    # --- where things are
    Setting("PORT", _between(1, 65535), "1883", "Port to listen on; the platform sets it."),
    Setting("HOST", _text, "0.0.0.0", "Address to listen on; `make run` sets 127.0.0.1."),  # noqa: S104  the platform asks for it
    Setting(
        "REDIS_URL",
        _redis_url,
        None,
        "The store: redis://HOST:PORT (the platform's add-on sets SCALINGO_REDIS_URL), redis+cluster://HOST:PORT,HOST:PORT "
        "or redis+sentinel://HOST:PORT,HOST:PORT/NAME; rediss… with TLS.",
        is_secret=True,
        aliases=("SCALINGO_REDIS_URL",),
        required_by=("tcp", "web"),
    ),
    Setting(
        "MONGO_URL",
        _mongo_url,
        "",
        "Long history, where it is set: mongodb://USER:PASSWORD@HOST:PORT/DATABASE (the platform's add-on sets "
        "SCALINGO_MONGO_URL) or mongodb+srv://….",
        is_secret=True,
        aliases=("SCALINGO_MONGO_URL",),
    ),
    Setting(
        "INFLUX_URL",
        _influx_url,
        "",
        "InfluxDB to write to as well, where it is set: http://USER:PASSWORD@HOST:PORT/DATABASE for 1.x (the platform's "
        "add-on sets SCALINGO_INFLUX_URL), http://HOST:PORT?org=ORG&bucket=BUCKET for 2.x; https with TLS.",
        is_secret=True,
        aliases=("SCALINGO_INFLUX_URL",),
    ),
    Setting("INFLUX_TOKEN", _influx_token, "", "Token for InfluxDB 2.x.", is_secret=True, used_by=TCP),
    Setting("INFLUX_MEASUREMENT", _measurement, "messages", "Measurement that points are written to.", used_by=TCP),
    Setting("TCP_URL", _text, "", "Public address of the broker, shown to people; the platform's TCP Gateway sets it."),
    Setting("CONTAINER", _text, "", "Name of this container; the platform sets it.", used_by=TCP),
    Setting("LOG_LEVEL", _one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "How much the processes log."),
    Setting(
        "BROKER_WORKERS",
        _between(1, 64),
        "1",
        "Broker processes in one container, on one port, for sizes with several cores; every bound is for each of them.",
        "workers",
        used_by=TCP,
    ),
    # --- who may connect
    Setting("MQTT_USERNAME", _text, "", "User name that devices connect with."),
    Setting("MQTT_PASSWORD", _text, "", "Password that devices connect with.", is_secret=True, used_by=TCP),
    Setting("ALLOW_ANONYMOUS", _flag, "false", "Let devices connect without a user name.", used_by=TCP),
    Setting(
        "BROKER_CONFIG",
        _text,
        "",
        "Path of a YAML file in amqtt's format, for its plugins; one that authenticates decides instead of MQTT_USERNAME.",
        used_by=TCP,
    ),
    Setting(
        "PLUGIN_TIMEOUT_S",
        _between(1, 60),
        "5",
        "Time a plugin has for an answer or an event; without an answer it counts as no.",
        "s",
        used_by=TCP,
    ),
    # --- what is spoken on the port
    Setting(
        "TLS_CERT",
        _certificates,
        "",
        "Certificate (chain) of the broker, as PEM text or a path: turns TLS on.",
        used_by=TCP,
    ),
    Setting("TLS_KEY", _private_key, "", "Private key of TLS_CERT, PEM text or a path.", is_secret=True, used_by=TCP),
    Setting(
        "TLS_CLIENT_CA",
        _certificates,
        "",
        "Authorities that client certificates have to come from, as PEM text or a path.",
        used_by=TCP,
    ),
    Setting(
        "TLS_CLIENT_CERT",
        _one_of("none", "optional", "required"),
        "none",
        "Whether clients are asked for a certificate of TLS_CLIENT_CA over TLS, and have to have it.",
        used_by=TCP,
    ),
    Setting("ALLOW_PLAIN_TEXT", _flag, "true", "Accept connections without TLS; false needs TLS_CERT.", used_by=TCP),
    # --- who may use the dashboard
    Setting(
        "DASHBOARD_USERNAME", _text, None, "User name for the dashboard and its API.", required_by=WEB, used_by=WEB
    ),
    Setting(
        "DASHBOARD_PASSWORD",
        _text,
        None,
        "Password for the dashboard and its API.",
        is_secret=True,
        required_by=WEB,
        used_by=WEB,
    ),
    Setting(
        "SECRET_KEY",
        _text,
        None,
        "Signs the dashboard's session cookies.",
        is_secret=True,
        required_by=WEB,
        used_by=WEB,
    ),
    Setting("API_TOKEN", _text, "", "Bearer token for the API; empty: HTTP Basic only.", is_secret=True, used_by=WEB),
    # --- what is stored, and for how long
    Setting(
        "ACK_AFTER",
        _one_of("memory", "disk"),
        "memory",
        "Acknowledge when the store has executed a commit (memory; killed, it may lose the last seconds) "
        "or has fsynced it (disk).",
        used_by=TCP,
    ),
    Setting(
        "DEVICE_TOPICS",
        _patterns,
        "devices/{device}/#",
        "Topic patterns that name a message's device, with commas; where none matches, the client id does.",
    ),
    Setting(
        "QUIET_AFTER_S", _between(1, 86_400 * 30), "900", "A device without a message for this long is quiet.", "s"
    ),
    Setting(
        "STORE_BYTES",
        _between(0, 1024 * GIB),
        "0",
        "Memory of Redis that the application may use; 0: what Redis's maxmemory allows, which it never exceeds. "
        "History is shed before it is full.",
        "bytes",
    ),
    Setting("HISTORY_MESSAGES", _between(1, 10_000_000), "10000", "Recent messages kept for each device.", "messages"),
    Setting(
        "HISTORY_BYTES", _between(1 * KIB, 1 * GIB), str(4 * MIB), "Recent messages kept for each device.", "bytes"
    ),
    Setting(
        "HISTORY_AGE_S", _between(60, 86_400 * 3650), str(7 * 86_400), "Age to which recent messages are kept.", "s"
    ),
    Setting(
        "ROLLUP_AGE_S",
        _between(7_200, 86_400 * 3650),
        str(2 * 86_400),
        "Age to which minute rollups are kept, for charts of hours.",
        "s",
    ),
    Setting(
        "HOUR_ROLLUP_AGE_S",
        _between(86_400, 86_400 * 3650),
        str(35 * 86_400),
        "Age to which hour rollups are kept, for charts of days and weeks.",
        "s",
    ),
    Setting(
        "DAY_ROLLUP_AGE_S",
        _between(86_400, 86_400 * 3650),
        str(400 * 86_400),
        "Age to which day rollups are kept, for charts of months and years.",
        "s",
    ),
    Setting(
        "LOG_KEEP_BYTES",
        _between(64 * KIB, 64 * GIB),
        str(8 * MIB),
        "Ingest log kept behind the projector, for live views that resume.",
        "bytes",
    ),
    Setting(
        "LOG_MAX_BYTES",
        _between(1 * MIB, 64 * GIB),
        str(64 * MIB),
        "Ingest log that views or MongoDB have not taken yet, at which the broker slows its publishers; "
        "never more than a quarter of what Redis may use.",
        "bytes",
    ),
    Setting(
        "LONG_HISTORY_AGE_S",
        _between(0, 50 * 365 * 86_400),
        str(365 * 86_400),
        "Age to which MongoDB keeps messages; 0: for ever.",
        "s",
    ),
    Setting(
        "LONG_HISTORY_MESSAGES",
        _between(0, 1_000_000_000),
        "0",
        "Messages that MongoDB keeps for each device; 0: any number.",
        "messages",
    ),
    Setting(
        "LONG_HISTORY_BYTES",
        _between(0, 1024 * 1024 * GIB),
        "0",
        "Messages that MongoDB keeps in all, as the uncompressed size of their documents; the oldest go. 0: any size.",
        "bytes",
    ),
    Setting(
        "LONG_ROLLUP_AGE_S",
        _between(0, 50 * 365 * 86_400),
        str(3650 * 86_400),
        "Age to which MongoDB keeps hour and day rollups; 0: for ever.",
        "s",
    ),
    # --- bounds on what one client, and all of them, can use
    Setting(
        "MAX_CONNECTIONS", _between(1, 1_000_000), "10000", "Network connections at once.", "connections", used_by=TCP
    ),
    Setting("CONNECT_TIMEOUT_S", _between(1, 300), "10", "Time a client has for its CONNECT packet.", "s", used_by=TCP),
    Setting(
        "MAX_PACKET_BYTES",
        _between(128, 268_435_460),
        "2000000",
        "Largest control packet accepted.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "RECEIVE_BUFFER_BYTES",
        _between(64 * KIB, 64 * GIB),
        str(64 * MIB),
        "Packets that have not arrived whole, of all connections together.",
        "bytes",
        used_by=TCP,
    ),
    Setting("MAX_CLIENT_ID_BYTES", _between(23, 65_535), "256", "Longest client id accepted.", "bytes", used_by=TCP),
    Setting(
        "MAX_KEEP_ALIVE_S",
        _between(10, 65_535),
        "65535",
        "Longest keep alive granted; also for clients that ask for none (MQTT 5).",
        "s",
        used_by=TCP,
    ),
    Setting(
        "RECEIVE_MAXIMUM",
        _between(1, 65_535),
        "1000",
        "QoS 1 and 2 publishes an MQTT 5 client may have unacknowledged.",
        "messages",
        used_by=TCP,
    ),
    Setting(
        "NODE_TIMEOUT_S",
        _between(2, 60),
        "5",
        "Time without a sign of life after which the other `tcp` processes take over one's clients and publish their wills.",
        "s",
        used_by=TCP,
    ),
    Setting(
        "SEND_WINDOW",
        _between(1, 65_535),
        "100",
        "QoS 1 and 2 messages sent to a client before it acknowledges.",
        "messages",
        used_by=TCP,
    ),
    Setting(
        "QUEUE_MESSAGES", _between(1, 1_000_000), "1000", "QoS 1 and 2 messages waiting for one session.", "messages"
    ),
    Setting(
        "QUEUE_BYTES",
        _between(1 * KIB, 1 * GIB),
        str(4 * MIB),
        "QoS 1 and 2 messages waiting for one session.",
        "bytes",
    ),
    Setting(
        "QUEUE_AGE_S",
        _between(1, 86_400 * 3650),
        str(7 * 86_400),
        "Age to which QoS 1 and 2 messages wait for one session.",
        "s",
    ),
    Setting(
        "SEND_BUFFER_BYTES",
        _between(4 * KIB, 1 * GIB),
        str(512 * KIB),
        "Bytes waiting to be sent to one client.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "SEND_TIMEOUT_S",
        _between(1, 3_600),
        "20",
        "Time a client may leave its send buffer full before it is dropped.",
        "s",
        used_by=TCP,
    ),
    Setting(
        "MAX_SUBSCRIPTIONS",
        _between(1, 1_000_000),
        "1000",
        "Subscriptions of one session.",
        "subscriptions",
        used_by=TCP,
    ),
    Setting("MAX_TOPIC_LEVELS", _between(1, 65_535), "64", "Levels in a topic name or filter.", "levels", used_by=TCP),
    Setting("MAX_SESSIONS", _between(1, 10_000_000), "20000", "Sessions kept, connected or not.", "sessions"),
    Setting(
        "MAX_SESSION_EXPIRY_S",
        _between(0, 4_294_967_295),
        str(7 * 86_400),
        "Longest time a session outlives its connection.",
        "s",
    ),
    Setting("RETAINED_MESSAGES", _between(1, 10_000_000), "10000", "Retained messages kept.", "messages"),
    Setting(
        "BATCH_MESSAGES", _between(1, 65_535), "8192", "Messages in one commit to the store.", "messages", used_by=TCP
    ),
    Setting(
        "BATCH_BYTES",
        _between(64 * KIB, 64 * MIB),
        str(1 * MIB),
        "Bytes in one commit to the store.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "BACKLOG_BYTES",
        _between(64 * KIB, 1 * GIB),
        str(16 * MIB),
        "Messages held while the store does not answer; beyond it the broker stops reading.",
        "bytes",
        used_by=TCP,
    ),
    # --- dashboard
    Setting(
        "WEB_THREADS",
        _between(4, 1_000),
        "96",
        "Threads of one web worker; each live page holds one.",
        "threads",
        used_by=WEB,
    ),
    Setting(
        "LIVE_STREAMS",
        _between(0, 900),
        "64",
        "Live event streams of one web worker; beyond it pages poll.",
        "streams",
        used_by=WEB,
    ),
    Setting(
        "WEB_CONCURRENCY",
        _between(1, 64),
        "1",
        "Workers of the web process; the platform sets it.",
        "workers",
        used_by=WEB,
    ),
)


class Settings:
    """The values of the table as attributes in lower case (`settings.redis_url`); frozen.

    Raises AttributeError for a name that is not in the table or not used by the process it was loaded for.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are frozen: {name}")

    def __getattr__(self, name: str) -> Any:  # tells type checkers that attributes come from the table
        raise AttributeError(f"no setting {name.upper()} for this process")

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some values changed (for tests and embedding)."""
        return Settings({**self.__dict__, **changes})


def _value(setting: Setting, environ: Mapping[str, str]) -> str | None:
    for name in (*setting.aliases, setting.name):
        if environ.get(name, "") != "":
            return environ[name]
    return setting.default


def load(environ: Mapping[str, str], process: Process) -> Settings:
    """Read the settings that `process` uses from `environ`.

    Raises SettingsError with one line for each value that is missing or bad, secrets not shown.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    reader = "tcp" if process == "store" else process
    for setting in TABLE:
        if reader not in setting.used_by:
            continue
        text = _value(setting, environ)
        if not text:
            if text is None and reader in setting.required_by:
                problems.append(f"{setting.name} is not set. {setting.help}")
            values[setting.name.lower()] = ""
            continue
        try:
            values[setting.name.lower()] = setting.parse(text)
        except ValueError as error:
            shown = "its value" if setting.is_secret or "\n" in text else repr(text)
            problems.append(f"{setting.name}: {shown} cannot be used: {error}.")
    if process == "tcp":
        problems += _credential_problems(values) + _tls_problems(values)
        problems += _size_problems(values) + _influx_problems(values)
    if problems:
        raise SettingsError(problems)
    return Settings(values)


def _credential_problems(values: Mapping[str, Any]) -> list[str]:
    has_name, has_password = bool(values.get("mqtt_username")), bool(values.get("mqtt_password"))
    if has_name and has_password:
        return []
    if has_name != has_password:
        return [f"{'MQTT_PASSWORD' if has_name else 'MQTT_USERNAME'} is not set, but its counterpart is: set both."]
    if values.get("allow_anonymous") or values.get("broker_config"):
        return []
    return [
        "No device could connect: set MQTT_USERNAME and MQTT_PASSWORD, or ALLOW_ANONYMOUS=true to let everybody in."
    ]


def _size_problems(values: Mapping[str, Any]) -> list[str]:
    if not values.get("mongo_url") or values.get("max_packet_bytes", 0) <= MAX_DOCUMENT_PAYLOAD_BYTES:
        return []
    most = f"MAX_PACKET_BYTES: with MONGO_URL it can be {MAX_DOCUMENT_PAYLOAD_BYTES} at most"
    return [f"{most}, or a message might not fit into a document of MongoDB."]


def _influx_problems(values: Mapping[str, Any]) -> list[str]:
    url = values.get("influx_url")
    if url and parse_influx_url(url).needs_token and values.get("influx_token") == "":
        return ["INFLUX_TOKEN is not set, but INFLUX_URL names a bucket: InfluxDB 2.x wants a token."]
    return []


def _tls_problems(values: Mapping[str, Any]) -> list[str]:
    # A value that is there but bad has its line already, and is missing from `values`.
    def is_empty(name: str) -> bool:
        return values.get(name) == ""

    problems = []
    for name, counterpart in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if is_empty(name) and values.get(counterpart):
            problems.append(f"{name.upper()} is not set, but its counterpart is: set both.")
    if values.get("allow_plain_text") is False and is_empty("tls_cert"):
        problems.append("ALLOW_PLAIN_TEXT is false, but TLS_CERT is not set: nobody could connect.")
    asks_clients = values.get("tls_client_cert") in {"optional", "required"}
    if asks_clients and is_empty("tls_client_ca"):
        problems.append("TLS_CLIENT_CERT needs TLS_CLIENT_CA: no client certificate could be trusted.")
    if values.get("tls_client_cert") == "none" and values.get("tls_client_ca"):
        problems.append("TLS_CLIENT_CA is set, but clients are not asked: set TLS_CLIENT_CERT to optional or required.")
    return problems
