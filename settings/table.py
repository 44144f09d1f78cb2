"""Every setting of the application, in one table.

Source of the platform's own variables: the platform's run-time environment (12-factor, III. Config).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settings.parsers import (
    any_text,
    between,
    certificates,
    device_topics,
    flag,
    influx_token,
    influx_url,
    measurement,
    mongo_url,
    one_of,
    private_key,
    redis_url,
    tcp_url,
)
from settings.setting import Setting
from settings.weak_secrets import KEY_CHARACTERS, PASSWORD_CHARACTERS, secret

if TYPE_CHECKING:
    from settings.setting import Process

TCP: tuple[Process, ...] = ("tcp",)
WEB: tuple[Process, ...] = ("web",)
KIB, MIB, GIB = 1024, 1024 * 1024, 1024 * 1024 * 1024

TABLE: tuple[Setting, ...] = (
    # --- where things are
    Setting("PORT", between(1, 65535), "1883", "Port to listen on; the platform sets it."),
    Setting("HOST", any_text, "0.0.0.0", "Address to listen on; `make run` sets 127.0.0.1."),  # noqa: S104  the platform asks for it
    Setting(
        "REDIS_URL",
        redis_url,
        None,
        "The store: redis://HOST:PORT (the platform's add-on sets SCALINGO_REDIS_URL), redis+cluster://HOST:PORT,HOST:PORT "
        "or redis+sentinel://HOST:PORT,HOST:PORT/NAME; rediss… with TLS.",
        is_secret=True,
        aliases=("SCALINGO_REDIS_URL",),
        required_by=("tcp", "web"),
    ),
    Setting(
        "MONGO_URL",
        mongo_url,
        "",
        "Long history, where it is set: mongodb://USER:PASSWORD@HOST:PORT/DATABASE (the platform's add-on sets "
        "SCALINGO_MONGO_URL) or mongodb+srv://….",
        is_secret=True,
        aliases=("SCALINGO_MONGO_URL",),
    ),
    Setting(
        "INFLUX_URL",
        influx_url,
        "",
        "InfluxDB to write to as well, where it is set: http://USER:PASSWORD@HOST:PORT/DATABASE for 1.x (the platform's "
        "add-on sets SCALINGO_INFLUX_URL), http://HOST:PORT?org=ORG&bucket=BUCKET for 2.x; https with TLS.",
        is_secret=True,
        aliases=("SCALINGO_INFLUX_URL",),
    ),
    Setting("INFLUX_TOKEN", influx_token, "", "Token for InfluxDB 2.x.", is_secret=True, used_by=TCP),
    Setting("INFLUX_MEASUREMENT", measurement, "messages", "Measurement that points are written to.", used_by=TCP),
    Setting(
        "TCP_URL", tcp_url, "", "Public address of the broker, shown to people; the platform's TCP Gateway sets it."
    ),
    Setting("CONTAINER", any_text, "", "Name of this container; the platform sets it.", used_by=TCP),
    Setting(
        "CONTAINER_MEMORY",
        between(128 * MIB, 1024 * GIB),
        str(256 * MIB),
        "Memory of this container, which the bounds of docs/limits.md divide; the platform sets it.",
        "bytes",
        used_by=TCP,
    ),
    Setting("LOG_LEVEL", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "How much the processes log."),
    Setting(
        "BROKER_WORKERS",
        between(1, 64),
        "1",
        "Broker processes in one container, on one port, for sizes with several cores; every bound is for each of them.",
        "workers",
        used_by=TCP,
    ),
    # --- who may connect
    Setting("MQTT_USERNAME", any_text, "", "User name that devices connect with."),
    Setting("MQTT_PASSWORD", any_text, "", "Password that devices connect with.", is_secret=True, used_by=TCP),
    Setting("ALLOW_ANONYMOUS", flag, "false", "Let devices connect without a user name.", used_by=TCP),
    Setting(
        "BROKER_CONFIG",
        any_text,
        "",
        "Path of a YAML file in amqtt's format, for its plugins; one that authenticates decides instead of MQTT_USERNAME.",
        used_by=TCP,
    ),
    Setting(
        "PLUGIN_TIMEOUT_S",
        between(1, 60),
        "5",
        "Time a plugin has for an answer or an event; without an answer it counts as no.",
        "s",
        used_by=TCP,
    ),
    # --- what is spoken on the port
    Setting(
        "TLS_CERT",
        certificates,
        "",
        "Certificate (chain) of the broker, as PEM text or a path: turns TLS on.",
        used_by=TCP,
    ),
    Setting("TLS_KEY", private_key, "", "Private key of TLS_CERT, PEM text or a path.", is_secret=True, used_by=TCP),
    Setting(
        "TLS_CLIENT_CA",
        certificates,
        "",
        "Authorities that client certificates have to come from, as PEM text or a path.",
        used_by=TCP,
    ),
    Setting(
        "TLS_CLIENT_CERT",
        one_of("none", "optional", "required"),
        "none",
        "Whether clients are asked for a certificate of TLS_CLIENT_CA over TLS, and have to have it.",
        used_by=TCP,
    ),
    Setting("ALLOW_PLAIN_TEXT", flag, "true", "Accept connections without TLS; false needs TLS_CERT.", used_by=TCP),
    # --- who may use the dashboard
    Setting(
        "DASHBOARD_USERNAME", any_text, None, "User name for the dashboard and its API.", required_by=WEB, used_by=WEB
    ),
    Setting(
        "DASHBOARD_PASSWORD",
        secret(PASSWORD_CHARACTERS),
        None,
        "Password for the dashboard and its API.",
        is_secret=True,
        required_by=WEB,
        used_by=WEB,
    ),
    Setting(
        "SECRET_KEY",
        secret(KEY_CHARACTERS),
        None,
        "Signs the dashboard's session cookies.",
        is_secret=True,
        required_by=WEB,
        used_by=WEB,
    ),
    Setting(
        "API_TOKEN",
        secret(PASSWORD_CHARACTERS),
        "",
        "Bearer token for the API; empty: HTTP Basic only.",
        is_secret=True,
        used_by=WEB,
    ),
    # --- what is stored, and for how long
    Setting(
        "ACK_AFTER",
        one_of("memory", "disk"),
        "memory",
        "Acknowledge when the store has executed a commit (memory; killed, it may lose the last seconds) "
        "or has fsynced it (disk).",
        used_by=TCP,
    ),
    Setting(
        "DEVICE_TOPICS",
        device_topics,
        "devices/{device}/#",
        "Topic patterns that name a message's device, with commas; where none matches, the client id does.",
    ),
    Setting("QUIET_AFTER_S", between(1, 86_400 * 30), "900", "A device without a message for this long is quiet.", "s"),
    Setting(
        "STORE_BYTES",
        between(0, 1024 * GIB),
        "0",
        "Memory of Redis that the application may use; 0: what Redis's maxmemory allows, which it never exceeds. "
        "History is shed before it is full.",
        "bytes",
    ),
    Setting(
        "MAX_DEVICES",
        between(1, 10_000_000),
        "50000",
        "Devices with views of their own; messages of others are shown under one collective entry. Never more than a third of "
        "what Redis may use can hold.",
        "devices",
    ),
    Setting("HISTORY_MESSAGES", between(1, 10_000_000), "10000", "Recent messages kept for each device.", "messages"),
    Setting("HISTORY_BYTES", between(1 * KIB, 1 * GIB), str(4 * MIB), "Recent messages kept for each device.", "bytes"),
    Setting(
        "HISTORY_AGE_S", between(60, 86_400 * 3650), str(7 * 86_400), "Age to which recent messages are kept.", "s"
    ),
    Setting(
        "ROLLUP_AGE_S",
        between(7_200, 86_400 * 3650),
        str(2 * 86_400),
        "Age to which minute rollups are kept, for charts of hours.",
        "s",
    ),
    Setting(
        "HOUR_ROLLUP_AGE_S",
        between(86_400, 86_400 * 3650),
        str(35 * 86_400),
        "Age to which hour rollups are kept, for charts of days and weeks.",
        "s",
    ),
    Setting(
        "DAY_ROLLUP_AGE_S",
        between(86_400, 86_400 * 3650),
        str(400 * 86_400),
        "Age to which day rollups are kept, for charts of months and years.",
        "s",
    ),
    Setting(
        "LOG_KEEP_BYTES",
        between(64 * KIB, 64 * GIB),
        str(8 * MIB),
        "Ingest log kept behind the projector, for live views that resume.",
        "bytes",
    ),
    Setting(
        "LOG_MAX_BYTES",
        between(1 * MIB, 64 * GIB),
        str(64 * MIB),
        "Ingest log that views or MongoDB have not taken yet, at which the broker slows its publishers; "
        "never more than a quarter of what Redis may use.",
        "bytes",
    ),
    Setting(
        "LONG_HISTORY_AGE_S",
        between(0, 50 * 365 * 86_400),
        str(365 * 86_400),
        "Age to which MongoDB keeps messages; 0: for ever.",
        "s",
    ),
    Setting(
        "LONG_HISTORY_MESSAGES",
        between(0, 1_000_000_000),
        "0",
        "Messages that MongoDB keeps for each device; 0: any number.",
        "messages",
    ),
    Setting(
        "LONG_HISTORY_BYTES",
        between(0, 1024 * 1024 * GIB),
        "0",
        "Messages that MongoDB keeps in all, as the uncompressed size of their documents; the oldest go. 0: any size.",
        "bytes",
    ),
    Setting(
        "LONG_ROLLUP_AGE_S",
        between(0, 50 * 365 * 86_400),
        str(3650 * 86_400),
        "Age to which MongoDB keeps hour and day rollups; 0: for ever.",
        "s",
    ),
    # --- bounds on what one client, and all of them, can use
    Setting(
        "MAX_CONNECTIONS", between(1, 1_000_000), "10000", "Network connections at once.", "connections", used_by=TCP
    ),
    Setting("CONNECT_TIMEOUT_S", between(1, 300), "10", "Time a client has for its CONNECT packet.", "s", used_by=TCP),
    Setting(
        "MAX_PACKET_BYTES",
        between(128, 268_435_460),
        "2000000",
        "Largest control packet accepted.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "RECEIVE_BUFFER_BYTES",
        between(64 * KIB, 64 * GIB),
        str(12 * MIB),
        "Packets that have not arrived whole, of all connections together.",
        "bytes",
        used_by=TCP,
    ),
    Setting("MAX_CLIENT_ID_BYTES", between(23, 65_535), "256", "Longest client id accepted.", "bytes", used_by=TCP),
    Setting(
        "MAX_KEEP_ALIVE_S",
        between(10, 65_535),
        "65535",
        "Longest keep alive granted; also for clients that ask for none (MQTT 5).",
        "s",
        used_by=TCP,
    ),
    Setting(
        "RECEIVE_MAXIMUM",
        between(1, 65_535),
        "1000",
        "QoS 1 and 2 publishes an MQTT 5 client may have unacknowledged.",
        "messages",
        used_by=TCP,
    ),
    Setting(
        "NODE_TIMEOUT_S",
        between(2, 60),
        "5",
        "Time without a sign of life after which the other `tcp` processes take over one's clients and publish their wills.",
        "s",
        used_by=TCP,
    ),
    Setting(
        "SEND_WINDOW",
        between(1, 65_535),
        "100",
        "QoS 1 and 2 messages sent to a client before it acknowledges.",
        "messages",
        used_by=TCP,
    ),
    Setting(
        "QUEUE_MESSAGES", between(1, 1_000_000), "10000", "QoS 1 and 2 messages waiting for one session.", "messages"
    ),
    Setting(
        "QUEUE_BYTES",
        between(1 * KIB, 1 * GIB),
        str(4 * MIB),
        "QoS 1 and 2 messages waiting for one session.",
        "bytes",
    ),
    Setting(
        "QUEUES_BYTES",
        between(64 * KIB, 1024 * GIB),
        str(128 * MIB),
        "QoS 1 and 2 messages waiting for all sessions; never more than an eighth of what Redis may use.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "QUEUE_AGE_S",
        between(1, 86_400 * 3650),
        str(7 * 86_400),
        "Age to which QoS 1 and 2 messages wait for one session.",
        "s",
    ),
    Setting(
        "SEND_BUFFER_BYTES",
        between(4 * KIB, 1 * GIB),
        str(512 * KIB),
        "Bytes waiting to be sent to one client.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "SEND_TIMEOUT_S",
        between(1, 3_600),
        "20",
        "Time a client may leave its send buffer full before it is dropped.",
        "s",
        used_by=TCP,
    ),
    Setting(
        "MAX_SUBSCRIPTIONS",
        between(1, 1_000_000),
        "1000",
        "Subscriptions of one session.",
        "subscriptions",
        used_by=TCP,
    ),
    Setting("MAX_TOPIC_LEVELS", between(1, 65_535), "64", "Levels in a topic name or filter.", "levels", used_by=TCP),
    Setting("MAX_SESSIONS", between(1, 10_000_000), "20000", "Sessions kept, connected or not.", "sessions"),
    Setting(
        "MAX_SESSION_EXPIRY_S",
        between(0, 4_294_967_295),
        str(7 * 86_400),
        "Longest time a session outlives its connection.",
        "s",
    ),
    Setting("RETAINED_MESSAGES", between(1, 10_000_000), "100000", "Retained messages kept.", "messages"),
    Setting(
        "RETAINED_BYTES",
        between(64 * KIB, 64 * GIB),
        str(32 * MIB),
        "Retained messages kept; never more than an eighth of what Redis may use.",
        "bytes",
    ),
    Setting(
        "BATCH_MESSAGES", between(1, 65_535), "8192", "Messages in one commit to the store.", "messages", used_by=TCP
    ),
    Setting(
        "BATCH_BYTES",
        between(64 * KIB, 64 * MIB),
        str(1 * MIB),
        "Bytes in one commit to the store.",
        "bytes",
        used_by=TCP,
    ),
    Setting(
        "BACKLOG_BYTES",
        between(64 * KIB, 1 * GIB),
        str(12 * MIB),
        "Messages held while the store does not answer; beyond it the broker stops reading.",
        "bytes",
        used_by=TCP,
    ),
    # --- dashboard
    Setting(
        "WEB_THREADS",
        between(4, 1_000),
        "96",
        "Threads of one web worker; each live page holds one.",
        "threads",
        used_by=WEB,
    ),
    Setting(
        "LIVE_STREAMS",
        between(0, 900),
        "64",
        "Live event streams of one web worker; beyond it pages poll.",
        "streams",
        used_by=WEB,
    ),
    Setting(
        "WEB_CONCURRENCY",
        between(1, 64),
        "1",
        "Workers of the web process; the platform sets it.",
        "workers",
        used_by=WEB,
    ),
)
