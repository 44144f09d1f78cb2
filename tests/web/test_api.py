"""The API's answers: their shapes, their paging, and what it says to bad questions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from dashboard_process import BASIC, TOKEN
from fleet_seed import fleet, message, now_ms

from store.times import rfc3339
from web import create_app

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from fleet_seed import Seed

    from settings import Settings

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
API = "/api/v1"


def ask(client: FlaskClient, path: str, status: int = 200) -> Any:
    response = client.get(f"{API}{path}", headers=BASIC)
    assert response.status_code == status, response.text
    return response.json


def test_ways_in(app: Flask, operator: FlaskClient):
    stranger = app.test_client()
    assert stranger.get(f"{API}/devices", headers=BASIC).status_code == 200
    assert stranger.get(f"{API}/devices", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert operator.get(f"{API}/devices").status_code == 200
    assert stranger.get(f"{API}/devices").status_code == 401
    assert stranger.get(f"{API}/devices", headers={"Authorization": "Bearer "}).status_code == 401
    assert stranger.get(f"{API}/devices", headers={"Authorization": "Nonsense"}).status_code == 401


def test_no_token_opens_the_api_where_none_is_set(settings: Settings):
    client = create_app(settings.replace(api_token="")).test_client()
    for token in ("", "None", TOKEN):
        assert client.get(f"{API}/devices", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_challenge_names_the_ways_in_but_opens_no_dialog_in_the_dashboard(client: FlaskClient):
    assert client.get(f"{API}/devices").headers.getlist("WWW-Authenticate")[1].startswith("Basic")
    own = client.get(f"{API}/devices", headers={"Sec-Fetch-Site": "same-origin"})
    assert own.headers.getlist("WWW-Authenticate") == ['Bearer realm="dashboard"']


def test_empty_store(client: FlaskClient):
    assert ask(client, "/devices") == {"devices": [], "next": None}
    counts = ask(client, "/fleet")
    assert counts["devices"] == {"total": 0, "online": 0, "quiet": 0}


def test_device_list_pages_searches_and_sorts(client: FlaskClient, seed: Seed):
    seed.publish(*(message(f"devices/room-{number:02}/t", {"t": number}) for number in range(7)))
    first = ask(client, "/devices?sort=name&limit=3")
    assert [row["id"] for row in first["devices"]] == ["room-00", "room-01", "room-02"]
    assert first["devices"][0].keys() == {"id", "connected", "quiet", "last_seen", "messages"}
    assert TIME.fullmatch(first["devices"][0]["last_seen"])
    names, cursor = [], ""
    while cursor is not None:
        page = ask(client, f"/devices?limit=2&cursor={quote(cursor)}")
        names += [row["id"] for row in page["devices"]]
        cursor = page["next"]
    assert sorted(names) == [f"room-{number:02}" for number in range(7)]
    assert [row["id"] for row in ask(client, "/devices?search=room-03")["devices"]] == ["room-03"]


def test_device_list_filters_by_presence(client: FlaskClient, seed: Seed):
    seed.publish(message("devices/on/t", {"t": 1}), message("devices/off/t", {"t": 1}))
    old = now_ms() - 3_600_000
    seed.publish(message("devices/quiet/t", {"t": 1}, at_ms=old))
    seed.node({"on": now_ms()})
    found = {
        status: sorted(row["id"] for row in ask(client, f"/devices?status={status}")["devices"])
        for status in ("online", "offline", "quiet")
    }
    assert found == {"online": ["on"], "offline": ["off", "quiet"], "quiet": ["quiet"]}


def test_device_record(client: FlaskClient, seed: Seed):
    at_ms = now_ms()
    seed.publish(message("devices/a/state", {"t": 21.5, "door": {"open": True}}, client_id="gateway", at_ms=at_ms))
    found = ask(client, "/devices/a")
    ts = rfc3339(at_ms)
    assert found["values"] == {"t": {"value": 21.5, "ts": ts}, "door.open": {"value": True, "ts": ts}}
    assert (found["id"], found["client_id"], found["messages"]) == ("a", "gateway", 1)
    assert (found["connected"], found["connected_since"]) == (False, None)
    assert [(topic["topic"], topic["qos"], topic["retain"]) for topic in found["topics"]] == [
        ("devices/a/state", 1, False)
    ]


@pytest.mark.parametrize(
    "device_id", ["a b", "50%", "%2F", "a?b#c", "ä/ö", "/a", "a/messages", "{x}", "a//b", 'q"<i>', "a+b", "messages"]
)
def test_device_id_may_hold_any_character(client: FlaskClient, seed: Seed, device_id: str):
    seed.publish(message("elsewhere/t", {"t": 1}, client_id=device_id))
    path = f"/devices/{quote(device_id, safe='')}"
    assert ask(client, path)["id"] == device_id
    assert len(ask(client, f"{path}/messages")["messages"]) == 1
    assert ask(client, f"{path}/series?field=t")["points"]


def test_messages_newest_first_with_their_payloads(client: FlaskClient, seed: Seed):
    seed.publish(message("devices/a/j", {"t": 1}), message("devices/a/x", b"\xff", flags=0b101))
    newest, oldest = ask(client, "/devices/a/messages")["messages"]
    assert newest["payload"] == {"base64": "/w=="}
    assert (newest["topic"], newest["qos"], newest["retain"]) == ("devices/a/x", 1, True)
    assert oldest["payload"] == {"text": '{"t": 1}', "json": {"t": 1}}
    assert newest.keys() == {"id", "ts", "topic", "qos", "retain", "payload"}


def test_messages_are_paged_both_ways_and_by_topic(client: FlaskClient, seed: Seed):
    for number in range(6):
        seed.publish(message(f"devices/a/{number % 2}", {"n": number}))
    numbers, before = [], ""
    while before is not None:
        page = ask(client, f"/devices/a/messages?limit=4&before={before}")
        numbers += [row["payload"]["json"]["n"] for row in page["messages"]]
        before = page["next"]
    assert numbers == [5, 4, 3, 2, 1, 0]
    newest = ask(client, "/devices/a/messages?limit=1")["messages"][0]["id"]
    assert ask(client, f"/devices/a/messages?after={newest}")["messages"] == []
    odd = ask(client, "/devices/a/messages?topic=devices/a/1")["messages"]
    assert [row["payload"]["json"]["n"] for row in odd] == [5, 3, 1]


def test_messages_oldest_first_of_a_field_and_a_time(client: FlaskClient, seed: Seed):
    at_ms = now_ms() - 60_000
    for number in range(6):
        seed.publish(message("devices/a/t", {"n": number, "odd" if number % 2 else "even": 1}, at_ms=at_ms + number))
    numbers, after = [], ""
    while after is not None:
        page = ask(client, f"/devices/a/messages?order=oldest&limit=4&after={after}")
        assert not page["is_partial"]
        numbers += [row["payload"]["json"]["n"] for row in page["messages"]]
        after = page["next"]
    assert numbers == [0, 1, 2, 3, 4, 5]
    for question, expected in (("field=odd", [5, 3, 1]), (f"from={at_ms + 1}&to={at_ms + 3}", [2, 1])):
        found = ask(client, f"/devices/a/messages?{question}")["messages"]
        assert [row["payload"]["json"]["n"] for row in found] == expected


def test_messages_before_and_after_a_time(client: FlaskClient, seed: Seed):
    seed.publish(message("devices/a/t", {"t": 1}))
    past, future = rfc3339(now_ms() - 60_000), rfc3339(now_ms() + 60_000)
    assert len(ask(client, f"/devices/a/messages?after={past}&before={future}")["messages"]) == 1
    assert ask(client, f"/devices/a/messages?before={past}")["messages"] == []


def test_series_has_extremes_mean_and_count(client: FlaskClient, seed: Seed):
    at_ms = now_ms() - 120_000
    seed.publish(*(message("devices/a/t", {"t": value}, at_ms=at_ms) for value in (1, 2, 6)))
    points = ask(client, "/devices/a/series?field=t")["points"]
    assert [point[1:] for point in points] == [[1.0, 6.0, 3.0, 3]]
    assert TIME.fullmatch(points[0][0])
    begin, end = at_ms - 600_000, at_ms - 300_000
    assert ask(client, f"/devices/a/series?field=t&from={begin}&to={rfc3339(end)}")["points"] == []


def test_series_keeps_to_its_points(client: FlaskClient, seed: Seed):
    seed.publish(*fleet(devices=1, hours=2))
    found = ask(client, f"/devices/greenhouse-01/series?field=temperature&from={now_ms() - 7_200_000}&points=10")
    assert 5 <= len(found["points"]) <= 10


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/devices?limit=0", "from 1 to 1000"),
        ("/devices?limit=1001", "from 1 to 1000"),
        ("/devices?limit=ten", "whole number"),
        ("/devices?status=gone", "online, offline, quiet"),
        ("/devices?sort=size", "last_seen, name"),
        ("/devices?cursor=!!", "cursor"),
        ("/devices/a/messages?before=yesterday", "message id"),
        ("/devices/a/messages?after=2026-01-31T12:00:00", "message id"),
        ("/devices/a/messages?order=random", "newest, oldest"),
        ("/devices/a/messages?from=2000&to=1000", "before"),
        ("/devices/a/messages?to=tomorrow", "to has to be a time"),
        ("/devices/a/series", "field"),
        ("/devices/a/series?field=t&from=never", "from has to be a time"),
        ("/devices/a/series?field=t&from=2000&to=1000", "before"),
        ("/devices/a/series?field=t&points=5000", "from 1 to 2000"),
        ("/live?topic=a/%23/b", "topic filter"),
        ("/live/recent?after=x", "message id"),
    ],
)
def test_bad_parameter_says_what_to_do(client: FlaskClient, seed: Seed, path: str, words: str):
    seed.publish(message("devices/a/t", {"t": 1}))
    error = ask(client, path, 400)["error"]
    assert error["code"] == "bad_request"
    assert words in error["message"]


def test_without_the_long_history_the_api_says_what_is_missing(settings: Settings, seed: Seed):
    app = create_app(settings.replace(mongo_url="mongodb://127.0.0.1:1/x"))
    seed.publish(message("devices/a/t", {"t": 1}))
    found = ask(app.test_client(), "/devices/a/messages")
    assert (len(found["messages"]), found["is_partial"]) == (1, True)
    assert ask(app.test_client(), "/devices/a/series?field=t&from=0")["is_partial"]
    assert ask(app.test_client(), "/devices/b", 503)["error"]["code"] == "long_history_unavailable"
    app.extensions["query"].close()


@pytest.mark.parametrize(
    "path", ["/nothing", "/devices/none", "/devices/none/messages", "/devices/none/series?field=t"]
)
def test_what_is_not_there_is_not_found(client: FlaskClient, path: str):
    assert ask(client, path, 404)["error"]["code"] == "not_found"


def test_method_that_is_not_offered(client: FlaskClient):
    response = client.post(f"{API}/devices", headers=BASIC)
    assert response.status_code == 405
    assert response.json["error"]["code"] == "method_not_allowed"
    assert "GET" in response.headers["Allow"]


def test_live_recent_continues(client: FlaskClient, seed: Seed):
    seed.commit([message("devices/a/t", {"n": 1}), message("devices/b/t", b"x" * 5000)])
    first = ask(client, "/live/recent")
    assert [row["device"] for row in first["messages"]] == ["a", "b"]
    assert first["messages"][1]["is_truncated"]
    assert first["messages"][1]["payload_bytes"] == 5000
    assert ask(client, f"/live/recent?after={first['position']}")["messages"] == []
    seed.commit([message("devices/a/t", {"n": 2}), message("devices/b/t", {"n": 3})])
    rest = ask(client, f"/live/recent?device=b&after={first['position']}")
    assert [row["payload"]["json"]["n"] for row in rest["messages"]] == [3]
