"""Log-in, sessions, forged requests, and where a log-in may lead."""

from __future__ import annotations

import http.client
import urllib.parse
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
import redis
from dashboard_process import BASIC, DEADLINE_S, PASSWORD, TOKEN, USERNAME, csrf_token, log_in, served

from web import create_app
from web.auth.credentials import are_valid, local_path

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from fleet_seed import Seed

    from local.valkey import EmbeddedValkey
    from settings import Settings

PAGES = ["/", "/overview", "/devices", "/device?id=a", "/device/state?id=a", "/live", "/api"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_lead_to_the_login_and_back(client: FlaskClient, path: str):
    response = client.get(path)
    assert response.status_code == 302
    assert response.location.startswith("/login?next=/")
    assert log_in(client, next_path=response.location.partition("next=")[2]).location == path


def test_every_route_but_the_listed_ones_needs_a_session(app: Flask, client: FlaskClient):
    public = {"auth.login", "health.healthz", "health.readyz"}
    for rule in app.url_map.iter_rules():
        if rule.endpoint in public or "GET" not in (rule.methods or ()):
            continue
        path = rule.rule.replace("<device:device_id>", "a")
        response = client.get(path)
        assert response.status_code == (401 if path.startswith("/api/") else 302), path


def test_part_of_a_page_asked_for_without_a_session_sends_the_browser_to_the_login(client: FlaskClient):
    response = client.get("/overview", headers={"HX-Request": "true"})
    assert response.status_code == 204
    assert response.headers["HX-Redirect"] == "/login"


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "pässwörd"])
def test_wrong_password_is_refused(client: FlaskClient, password: str):
    response = log_in(client, password)
    assert response.status_code == 401
    assert client.get("/devices").status_code == 302


def test_wrong_username_is_refused(settings: Settings):
    assert are_valid(settings, USERNAME, PASSWORD)
    assert not are_valid(settings, USERNAME + "x", PASSWORD)
    assert not are_valid(settings, "", "")


def test_login_without_the_forms_token_is_refused(client: FlaskClient):
    response = client.post("/login", data={"username": USERNAME, "password": PASSWORD})
    assert response.status_code == 400
    assert client.get("/devices").status_code == 302


def test_logout_ends_the_session_and_needs_the_forms_token(operator: FlaskClient):
    assert operator.post("/logout").status_code == 400
    token = csrf_token(operator.get("/live").text)
    assert operator.post("/logout", data={"csrf_token": token}).status_code == 302
    assert operator.get("/devices").status_code == 302


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/devices?search=a", "/devices?search=a"),
        ("", "/"),
        ("devices", "/"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("\\/evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_login_leads_only_to_paths_of_this_site(target: str, path: str):
    assert local_path(target) == path


def test_session_cookie_is_kept_from_scripts_and_other_sites(client: FlaskClient):
    cookie = log_in(client).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_session_cookie_is_secure_behind_https(client: FlaskClient):
    response = client.get("/login", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in response.headers["Set-Cookie"]
    assert "max-age" in response.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("name", ["dashboard_password", "dashboard_username", "secret_key"])
def test_changed_credentials_end_every_session(operator: FlaskClient, settings: Settings, name: str):
    cookie = operator.get_cookie("session")
    assert cookie is not None
    other = create_app(settings.replace(**{name: "changed"})).test_client()
    other.set_cookie("session", cookie.value)
    assert other.get("/devices").status_code == 302


# --- log-outs are for all who have the cookie


def copy_of(client: FlaskClient, settings: Settings) -> FlaskClient:
    """Return a client of another web process with the same cookie."""
    cookie = client.get_cookie("session")
    assert cookie is not None
    other = create_app(settings).test_client()
    other.set_cookie("session", cookie.value)
    return other


def log_out(client: FlaskClient) -> Any:
    return client.post("/logout", data={"csrf_token": csrf_token(client.get("/live").text)})


def test_logout_ends_the_session_in_every_process_and_no_other_session(
    operator: FlaskClient, app: Flask, settings: Settings, redis_url: str
):
    thief, other = copy_of(operator, settings), app.test_client()
    log_in(other)
    assert thief.get("/devices").status_code == thief.get("/api/v1/devices").status_code == 200
    assert log_out(operator).status_code == 302
    assert thief.get("/api/v1/devices").status_code == 401
    assert thief.get("/devices").status_code == 302
    assert other.get("/devices").status_code == 200
    with redis.Redis.from_url(redis_url) as store:
        (key,) = store.keys("{web}:ended:*")
        assert 12 * 3600 < store.ttl(key) <= 13 * 3600


def test_logout_works_while_redis_is_full(operator: FlaskClient, settings: Settings, redis_url: str):
    thief = copy_of(operator, settings)
    with redis.Redis.from_url(redis_url) as store:
        store.config_set("maxmemory", 1)
        try:
            assert log_out(operator).status_code == 302
        finally:
            store.config_set("maxmemory", 0)
    assert thief.get("/devices").status_code == 302


def test_while_the_store_is_away_sessions_are_not_trusted_and_not_lost(
    operator: FlaskClient, settings: Settings, valkey_server: EmbeddedValkey
):
    token = csrf_token(operator.get("/live").text)
    valkey_server.kill()
    try:
        assert operator.get("/live").status_code == 503
        refused = operator.post("/logout", data={"csrf_token": token})
        assert refused.status_code == 503
        assert 'http-equiv="refresh"' not in refused.text  # what was posted is not asked for again
    finally:
        valkey_server.start()
    assert operator.get("/live").status_code == 200


def test_logout_ends_an_open_stream(redis_url: str, seed: Seed):
    with served(redis_url, "quick_heartbeat:app", WEB_CONCURRENCY="2") as (address, _process):
        browser = Browser(address)
        browser.log_in()
        with browser.open("/api/v1/live") as stream:
            assert stream.read1().startswith(b"retry:")
            browser.open("/logout", csrf_token=browser.token).close()
            while stream.read1():  # its heartbeats, until the end
                pass


class Browser:
    """Keeps cookies, as a browser does."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        self.token = ""

    def open(self, path: str, **form: str) -> http.client.HTTPResponse:
        data = urllib.parse.urlencode(form).encode() if form else None
        response = self._opener.open(self._address + path, data, timeout=DEADLINE_S)
        assert isinstance(response, http.client.HTTPResponse)
        return response

    def log_in(self) -> None:
        self.token = csrf_token(self.open("/login").read().decode())
        self.open("/login", username=USERNAME, password=PASSWORD, csrf_token=self.token).close()
        self.token = csrf_token(self.open("/live").read().decode())


# --- failed log-ins

ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}


def wrong_logins(client: FlaskClient, count: int, **options: Any) -> list[int]:
    return [log_in(client, "wrong", **options).status_code for _ in range(count)]


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


def test_failed_logins_are_limited_over_page_and_api_together(client: FlaskClient):
    wrong = basic(USERNAME, "wrong")
    assert wrong_logins(client, 5) == [401] * 5
    assert [client.get("/api/v1/fleet", headers=wrong).status_code for _ in range(5)] == [401] * 5
    refused = client.get("/api/v1/fleet", headers=BASIC)
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "too_many_failed_logins")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    page = log_in(client)
    assert page.status_code == 429
    assert 1 <= int(page.headers["Retry-After"]) <= 60
    assert "Try again in" in page.text


def test_failed_logins_hinder_nobody_else(app: Flask, client: FlaskClient, operator: FlaskClient):
    stranger = app.test_client()
    assert wrong_logins(stranger, 11) == [401] * 10 + [429]
    assert stranger.get("/login").status_code == 200
    assert operator.get("/devices").status_code == operator.get("/api/v1/devices").status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert stranger.get("/api/v1/devices", headers=bearer).status_code == 200
    assert stranger.get("/api/v1/devices", headers=BASIC | ELSEWHERE).status_code == 200
    assert log_in(app.test_client(), headers=ELSEWHERE).status_code == 302


@pytest.mark.parametrize(
    "wrong", [{"Authorization": "Bearer wrong"}, basic("somebody", PASSWORD), basic("somebody" * 1000, "x")]
)
def test_wrong_tokens_and_wrong_names_do_not_lock_the_right_name_out(client: FlaskClient, wrong: dict[str, str]):
    assert [client.get("/api/v1/fleet", headers=wrong).status_code for _ in range(11)] == [401] * 10 + [429]
    assert client.get("/api/v1/fleet", headers=BASIC).status_code == 200
    assert log_in(client).status_code == 302


def test_requests_without_credentials_are_no_guesses(client: FlaskClient):
    assert [client.get("/api/v1/fleet").status_code for _ in range(11)] == [401] * 11
    assert log_in(client).status_code == 302


def test_guesses_from_many_addresses_are_slowed_and_lock_nobody_out(client: FlaskClient):
    def from_address(number: int) -> dict[str, str]:
        return {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250}"}

    wrong = basic(USERNAME, "wrong")
    for number in range(100):
        statuses = [client.get("/api/v1/fleet", headers=wrong | from_address(number)).status_code for _ in range(3)]
        assert statuses == [401] * 3
    first, second = (client.get("/api/v1/fleet", headers=wrong | from_address(200)).status_code for _ in range(2))
    assert (first, second) == (401, 429)
    assert client.get("/api/v1/fleet", headers=BASIC | from_address(201)).status_code == 200


def test_addresses_of_one_ipv6_customer_count_as_one(client: FlaskClient):
    statuses = [
        log_in(client, "wrong", headers={"X-Forwarded-For": f"2001:db8::{number:x}"}).status_code
        for number in range(11)
    ]
    assert statuses == [401] * 10 + [429]
    assert log_in(client, headers={"X-Forwarded-For": "2001:db8:0:1::1"}).status_code == 302


def test_counts_of_failures_go_by_themselves(client: FlaskClient, redis_url: str):
    wrong_logins(client, 1, username="a" * 10_000)
    with redis.Redis.from_url(redis_url) as store:
        keys = store.keys("*failed-logins*")
        assert len(keys) == 2
        assert all(len(key) < 100 and 0 < store.ttl(key) <= 60 for key in keys)


def test_successful_logins_are_not_limited(app: Flask):
    assert [log_in(app.test_client()).status_code for _ in range(12)] == [302] * 12


def test_login_works_and_is_limited_while_the_store_is_away(settings: Settings):
    client = create_app(settings.replace(redis_url="redis://127.0.0.1:1/0")).test_client()
    assert log_in(client).status_code == 302
    client = create_app(settings.replace(redis_url="redis://127.0.0.1:1/0")).test_client()
    assert wrong_logins(client, 11) == [401] * 10 + [429]
