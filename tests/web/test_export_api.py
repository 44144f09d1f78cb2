"""Exports from the API and the pages: what they hold, their bounds, and that one which is broken off is noticed."""

from __future__ import annotations

import csv
import http.client
import io
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import pytest
from dashboard_process import BASIC, DEADLINE_S, await_true, served
from fleet_seed import Seed, fleet, message, now_ms

from local.valkey import EmbeddedValkey
from store.documents import document_of
from store.model import MessageId
from store.mongo import MESSAGES, connect_mongo
from store.times import rfc3339
from web import create_app
from web.exports import EXPORTS_AT_ONCE

if TYPE_CHECKING:
    from pathlib import Path

    from flask.testing import FlaskClient
    from playwright.sync_api import Page

    from settings import Settings

EXPORT = "/api/v1/export"


def ask(address: str, query: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=DEADLINE_S)
    connection.request("GET", f"{EXPORT}?{query}", headers={**BASIC, "Connection": "close"})
    return connection.getresponse()


def fill(seed: Seed, mebibytes: int) -> None:
    """Publish much more than the buffers between two processes hold."""
    for number in range(mebibytes):
        seed.publish(*(message(f"devices/d{number:02}/t", b"x" * 32_768) for _ in range(32)))


def test_everything_under_gunicorn(address: str, seed: Seed) -> None:
    seed.publish(*fleet(devices=3, hours=5))
    with ask(address) as response:
        assert response.getheader("Content-Type") == "application/x-ndjson"
        assert (response.getheader("Content-Disposition") or "").startswith("attachment; filename=messages-")
        lines = response.read().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 903
    assert [row["device"] for row in rows] == sorted(row["device"] for row in rows)
    after = quote(f"{rows[500]['device']},{rows[500]['id']}")
    with ask(address, f"after={after}") as response:
        assert response.read().splitlines() == lines[501:]


def test_selections(client: FlaskClient, seed: Seed) -> None:
    start_ms = now_ms() - 60_000
    for name in ("a", "a,b", "b"):
        seed.publish(*(message(f"devices/{name}/{n % 2}", {"n": n}, at_ms=start_ms + n * 1000) for n in range(6)))

    def rows(**query: object) -> list[dict[str, str]]:
        response = client.get(f"{EXPORT}?{urlencode(query, doseq=True)}&format=csv", headers=BASIC)
        assert response.status_code == 200, response.text
        return list(csv.DictReader(io.StringIO(response.text, newline="")))

    assert len(rows()) == 18
    assert {row["device"] for row in rows(device=["b", "a"])} == {"a", "b"}
    assert {row["device"] for row in rows(search="a")} == {"a", "a,b"}
    assert {row["topic"] for row in rows(topic="devices/+/1")} == {"devices/a/1", "devices/a,b/1", "devices/b/1"}
    in_time = rows(**{"from": rfc3339(start_ms + 2000), "to": start_ms + 4000})
    assert [row["payload"] for row in in_time] == ['{"n": 2}', '{"n": 3}'] * 3
    assert rows(device="unknown") == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("format=xml", "ndjson, csv"),
        ("from=never", "from has to be a time"),
        ("from=2000&to=1000", "before"),
        ("topic=a/%23/b", "topic filter"),
        ("after=x", "DEVICE,ID"),
    ],
)
def test_a_bad_question_is_answered(client: FlaskClient, query: str, words: str) -> None:
    response = client.get(f"{EXPORT}?{query}", headers=BASIC)
    assert response.status_code == 400
    assert words in response.json["error"]["message"]


def test_who_may_export(client: FlaskClient, operator: FlaskClient, seed: Seed) -> None:
    seed.publish(message("devices/a/t", {"n": 1}))
    assert operator.get(EXPORT).status_code == 200
    operator.delete_cookie("session")
    assert client.get(EXPORT).status_code == 401


def test_what_only_mongodb_has(settings: Settings, mongo_url: str) -> None:
    app = create_app(settings.replace(mongo_url=mongo_url))
    database = connect_mongo(settings.replace(mongo_url=mongo_url))
    old = message("devices/old/t", {"n": 1}, at_ms=1_600_000_000_000)
    database[MESSAGES].insert_one(document_of(MessageId(1_600_000_000_000, 0), "old", old))
    response = app.test_client().get(EXPORT, headers=BASIC)
    assert [json.loads(line)["id"] for line in response.data.splitlines()] == ["1600000000000-0"]
    for each in (database.client, app.extensions["exports"], app.extensions["query"]):
        each.close()


def test_without_mongodb_there_is_no_short_file(settings: Settings) -> None:
    app = create_app(settings.replace(mongo_url="mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=100"))
    response = app.test_client().get(EXPORT, headers=BASIC)
    assert response.status_code == 503
    assert response.json["error"]["code"] == "long_history_unavailable"
    for name in ("exports", "query"):
        app.extensions[name].close()


def test_http_1_0_could_not_tell_a_cut_file(client: FlaskClient) -> None:
    response = client.get(EXPORT, headers=BASIC, environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"})
    assert response.status_code == 505


def test_a_store_that_is_away_is_said_at_once(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        with served(server.url) as (address, _process):
            server.kill()
            with ask(address) as response:
                assert response.status == 503
    finally:
        server.stop()


def test_a_store_that_fails_on_the_way_breaks_the_response_off(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        seed = Seed(server.url)
        fill(seed, 24)
        seed.close()
        with served(server.url) as (address, _process), ask(address) as response:
            assert response.read(65_536)
            server.kill()
            with pytest.raises(http.client.IncompleteRead):
                response.read()
    finally:
        server.stop()


def test_exports_are_few_at_once_and_end_with_their_clients(address: str, seed: Seed) -> None:
    fill(seed, 24)
    held = [ask(address) for _ in range(EXPORTS_AT_ONCE)]
    assert {response.status for response in held} == {200}
    with ask(address) as refused:
        assert refused.status == 503
        assert json.load(refused)["error"]["code"] == "too_many_exports"
    for response in held:
        response.close()

    def is_free() -> bool:
        with ask(address, "device=none") as response:
            return response.status == 200

    await_true(is_free, "exports whose clients have gone end")


def test_forms_lead_to_the_file(page: Page, seed: Seed) -> None:
    seed.publish(*(message(f"devices/{name}/t", {"n": 1}) for name in ("a b", "a+c", "d")))
    page.goto("/devices")
    page.get_by_text("Export messages").click()
    export = page.locator("#export")
    export.get_by_label("Prefix of the names").fill("a")
    export.get_by_label("From (UTC)").fill("2020-01-31T12:00")
    with page.expect_download() as download:
        export.get_by_role("button", name="Export").click()
    assert [json.loads(line)["device"] for line in download.value.path().read_bytes().splitlines()] == ["a b", "a+c"]
    page.goto("/device?id=a%2Bc")
    page.get_by_text("Export this device").click()
    export.get_by_label("Format").select_option("csv")
    with page.expect_download() as download:
        export.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename.endswith(".csv")
    rows = download.value.path().read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["device", "a+c"]


def test_a_time_of_the_form_that_cannot_be_read(operator: FlaskClient) -> None:
    assert operator.get("/devices/export?from=never").status_code == 400
