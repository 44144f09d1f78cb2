"""What settings have to be together: each may be good alone and the whole still unusable. Problems are lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.influx_address import parse_influx_url

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DOCUMENT_PAYLOAD_BYTES = 15_000_000  # a document has 16 MiB, and its fields and names want room too


def problems_together(values: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing about the `tcp` process's values that would keep it from working."""
    return [*_credentials(values), *_tls(values), *_sizes(values), *_influx(values)]


def _credentials(values: Mapping[str, Any]) -> list[str]:
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


def _sizes(values: Mapping[str, Any]) -> list[str]:
    if not values.get("mongo_url") or values.get("max_packet_bytes", 0) <= MAX_DOCUMENT_PAYLOAD_BYTES:
        return []
    most = f"MAX_PACKET_BYTES: with MONGO_URL it can be {MAX_DOCUMENT_PAYLOAD_BYTES} at most"
    return [f"{most}, or a message might not fit into a document of MongoDB."]


def _influx(values: Mapping[str, Any]) -> list[str]:
    url = values.get("influx_url")
    if url and parse_influx_url(url).needs_token and values.get("influx_token") == "":
        return ["INFLUX_TOKEN is not set, but INFLUX_URL names a bucket: InfluxDB 2.x wants a token."]
    return []


def _tls(values: Mapping[str, Any]) -> list[str]:
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
