"""The start of the web process: settings, workers and health."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from dashboard_process import BASIC, DEADLINE_S, gunicorn, log_in, served

from web import create_app

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from local.valkey import EmbeddedValkey
    from settings import Settings


def test_bad_settings_end_the_start_with_a_line_for_each():
    process = gunicorn(
        {"REDIS_URL": "redis://:hunter#two@nowhere", "PORT": "0", "DASHBOARD_USERNAME": "a", "SECRET_KEY": "k"}
    )
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    lines = said.splitlines()
    assert [line.partition(":")[0].partition(" ")[0] for line in lines] == [
        "PORT",
        "REDIS_URL",
        "DASHBOARD_PASSWORD",
        "SECRET_KEY",
    ]
    assert "hunter" not in said
    assert "two" not in said
    assert "Traceback" not in said


def test_workers_and_threads_follow_the_settings(redis_url: str):
    with served(redis_url, WEB_CONCURRENCY="2") as (address, _process):
        request = urllib.request.Request(f"{address}/api/v1/fleet", headers=BASIC)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            assert json.load(response)["devices"]["total"] == 0


def test_health_needs_no_login(client: FlaskClient):
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready"}


def test_ready_answers_soon_while_the_store_hangs(client: FlaskClient, valkey_server: EmbeddedValkey):
    assert client.get("/readyz").status_code == 200
    valkey_server.pause()
    try:
        began_s = time.monotonic()
        assert client.get("/readyz").status_code == 503
        assert time.monotonic() - began_s < 5  # pages wait for 6 s
        assert client.get("/healthz").status_code == 200
    finally:
        valkey_server.resume()


def test_store_that_is_away_is_said_plainly(settings: Settings):
    client = create_app(settings.replace(redis_url="redis://127.0.0.1:1/0")).test_client()
    assert client.get("/readyz").status_code == 503
    answer = client.get("/api/v1/devices", headers=BASIC)
    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "store_unavailable"
    assert answer.headers["Retry-After"]
    log_in(client)
    for path in ("/", "/devices", "/device?id=a"):
        response = client.get(path)
        assert response.status_code == 503
        assert "The store does not answer" in response.text
        assert "Traceback" not in response.text
    part = client.get("/overview", headers={"HX-Request": "true"})
    assert part.status_code == 503
    assert "<html" not in part.text
