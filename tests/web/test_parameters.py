"""Every parameter of every route at its edges: an answer or a 400 that names the parameter, never an error of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dashboard_process import BASIC, log_in
from fleet_seed import message

from web import create_app
from web.api.openapi import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from flask.testing import FlaskClient
    from fleet_seed import Seed

    from settings import Settings

EDGES = (
    "", " ", "0", "-1", "1", "1.5", "1e3", "NaN", "Infinity", "null", "true", "[]", "{}", "9" * 9, "9" * 13, "9" * 15, "9" * 16,
    "9" * 400, "9" * 5000, "٣", "²", "0-0", "0-1", "-", "0-", "-0", "1-999999999999999", "999999999999999-999999999999999", "٣-٣",
    "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59",
    "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-W05-6",
    "\0", "a\0b", "a.b", "a..b", ".", "$", "$where", "#", "+", "a/#/b",
    "a/+", "//", "'", '"', "\\", "%", "%00", "\ud7ff\ue000\U0010ffff", "a" * 3000, "time:", "time:0:", "time:٣:a", "time:-1:a",
    "time:9e999:a", f"time:{'9' * 400}:a", "time:1:", "name:", "name:a", "name:\0", "a,0-0", ",", "a,", ",0-0",
)  # fmt: skip
PAGES = {
    "/devices": ("search", "status", "sort", "cursor"),
    "/device": ("id", "topic", "field", "from", "to", "before", "after"),
    "/device/state": ("id",),
    "/device/messages": ("id", "topic", "field", "from", "to", "before", "after"),
    "/device/messages/newer": ("id", "topic", "field", "from", "to", "before", "after"),
    "/device/message": ("id", "message", "view"),
    "/device/message/payload": ("id", "message"),
    "/devices/export": ("format", "device", "search", "topic", "from", "to"),
    "/live": ("device", "topic"),
    "/login": ("next",),
}


def described() -> list[Any]:
    """Return path, parameter and place of all that the API's document names."""
    return [
        pytest.param(path, each["name"], each["in"], id=f"{path} {each['name']}")
        for path, methods in document()["paths"].items()
        for each in methods["get"]["parameters"]
    ]


@pytest.fixture(params=["redis", "mongodb"])
def whole_app(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Flask]:
    """The dashboard with each kind of history."""
    if request.param == "mongodb":
        settings = settings.replace(mongo_url=request.getfixturevalue("mongo_url"))
    app = create_app(settings)
    yield app
    app.extensions["query"].close()
    app.extensions["exports"].close()


def status_and_error(client: FlaskClient, path: str, **asked: Any) -> tuple[int, str]:
    with client.get(path, **asked) as response:
        is_error = response.status_code >= 400 and response.is_json
        return response.status_code, response.json["error"]["message"] if is_error else ""


@pytest.mark.parametrize(("path", "name", "where"), described())
def test_api(whole_app: Flask, seed: Seed, path: str, name: str, where: str):
    seed.publish(message("devices/a/t", {"t": 1}))
    client = whole_app.test_client()
    for edge in EDGES:
        query = {"field": "t"} if path.endswith("/series") else {}
        headers = dict(BASIC)
        if where == "query":
            query[name] = edge
        elif where == "header":
            if not edge.isascii() or not edge.isprintable():
                continue  # no client can send it
            headers[name] = edge
        actual = path.replace("{device_id}", "a")
        status, said = status_and_error(client, actual, query_string=query, headers=headers)
        assert status in {200, 400}, (edge, status)
        assert status == 200 or name in said, (edge, said)


@pytest.mark.parametrize(("path", "name", "where"), described())
def test_parameter_that_is_given_twice_is_refused(client: FlaskClient, path: str, name: str, where: str):
    if where != "query" or (path, name) == ("/api/v1/export", "device"):
        return
    actual = path.replace("{device_id}", "a")
    status, said = status_and_error(client, actual, query_string=[(name, "1"), (name, "2")], headers=BASIC)
    assert (status, said) == (400, f"{name} is given more than once.")


@pytest.mark.parametrize("path", [path for path in document()["paths"] if "{device_id}" in path])
def test_device_id_in_a_path(whole_app: Flask, path: str):
    client = whole_app.test_client()
    for edge in ("%00", "%2F", "%FF", "%ED%A0%80", "٣", "a" * 3000, "-1", "0"):
        status, _ = status_and_error(
            client, path.replace("{device_id}", edge), query_string={"field": "t"}, headers=BASIC
        )
        assert status in {200, 404}, edge


@pytest.mark.parametrize("path", sorted(PAGES))
def test_pages(whole_app: Flask, seed: Seed, path: str):
    seed.publish(message("devices/a/t", {"t": 1}))
    client = whole_app.test_client()
    log_in(client)
    for name in PAGES[path]:
        for edge in EDGES:
            status, _ = status_and_error(client, path, query_string={"id": "a", name: edge})
            assert status in {200, 302, 400, 404}, (name, edge, status)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/devices/a/messages?before=0", "before has to be later than 0-0"),
        ("/devices/a/messages?to=0", "to has to be later than 1970"),
        ("/devices/a/series?field=t&to=0", "to has to be later than 1970"),
        ("/export?to=1969-12-31T23:59:59Z", "to has to be later than 1970"),
    ],
)
def test_what_nothing_can_be_before(client: FlaskClient, seed: Seed, path: str, words: str):
    seed.publish(message("devices/a/t", {"t": 1}))
    assert words in status_and_error(client, f"/api/v1{path}", headers=BASIC)[1]


def test_chart_that_ends_in_the_first_hour_of_time(client: FlaskClient, seed: Seed):
    seed.publish(message("devices/a/t", {"t": 1}))
    assert client.get("/api/v1/devices/a/series?field=t&to=3599999", headers=BASIC).json["points"] == []


def test_page_says_what_is_wrong_with_its_address(operator: FlaskClient, seed: Seed):
    seed.publish(message("devices/a/t", {"t": 1}))
    assert "before has to be later than 0-0" in operator.get("/device?id=a&before=0-0").text
    assert "There is nothing at this address" in operator.get("/nothing").text
