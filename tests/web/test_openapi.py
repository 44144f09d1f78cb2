"""The API's description against its routes and its answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from dashboard_process import BASIC
from fleet_seed import fleet, message

from web.api.openapi import document
from web.api.schemas import SCHEMAS

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from fleet_seed import Seed

TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
PATHS = {
    "/api/v1/fleet": "/api/v1/fleet",
    "/api/v1/devices": "/api/v1/devices",
    "/api/v1/devices/{device_id}": "/api/v1/devices/cellar-04",
    "/api/v1/devices/{device_id}/messages": "/api/v1/devices/cellar-04/messages",
    "/api/v1/devices/{device_id}/series": "/api/v1/devices/cellar-04/series?field=humidity",
    "/api/v1/storage": "/api/v1/storage",
    "/api/v1/live/recent": "/api/v1/live/recent",
    "/api/v1/openapi.json": "/api/v1/openapi.json",
}


def complaints(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    """Hold a value against the part of JSON Schema that the document uses."""
    if "$ref" in schema:
        return complaints(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], where)
    if "oneOf" in schema:
        fits = [choice for choice in schema["oneOf"] if not complaints(value, choice, where)]
        return [] if len(fits) == 1 else [f"{where}: fits {len(fits)} of the choices"]
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[name]) for name in names) or (
        isinstance(value, bool) and "boolean" not in names
    ):
        return [f"{where}: {value!r} is no {names}"]
    required = schema.get("required", []) if isinstance(value, dict) else []
    found = [f"{where}: no {name}" for name in required if name not in value]
    if isinstance(value, dict):
        extra = schema.get("additionalProperties")
        for name, part in value.items():
            inner = schema.get("properties", {}).get(name, extra)
            found += complaints(part, inner, f"{where}.{name}") if inner else []
    if isinstance(value, list):
        items = schema.get("prefixItems") or [schema["items"]] * len(value)
        found += [
            text for part, item in zip(value, items, strict=True) for text in complaints(part, item, where + "[]")
        ]
    return found


def test_every_route_is_described_and_every_description_has_a_route(app: Flask):
    routes = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
    }
    assert set(document()["paths"]) == routes


def test_every_path_parameter_is_described():
    for path, methods in document()["paths"].items():
        described = {each["name"] for each in methods["get"]["parameters"] if each["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


@pytest.mark.parametrize("path", sorted(PATHS))
def test_answer_has_the_described_shape(client: FlaskClient, seed: Seed, path: str):
    seed.publish(*fleet(devices=4, hours=0.2), message("devices/cellar-04/raw", b"\xff\x00"))
    content = document()["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    answer = client.get(PATHS[path], headers=BASIC).json
    assert complaints(answer, content["schema"], path) == []


def test_only_streams_have_no_json_shape():
    assert set(document()["paths"]) - set(PATHS) == {"/api/v1/live", "/api/v1/export"}


def test_references_lead_somewhere():
    described = document()
    for kind, name in re.findall(r"#/components/(\w+)/(\w+)", str(described)):
        assert name in described["components"][kind]
