"""Log-in, sessions, forged requests, and where a log-in may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboard_process import PASSWORD, USERNAME, csrf_token, log_in

from web import create_app
from web.auth.credentials import are_valid, local_path

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

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


def test_failed_logins_are_limited_over_page_and_api_together(client: FlaskClient):
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [log_in(client, "wrong").status_code for _ in range(5)]
    statuses += [client.get("/api/v1/fleet", headers=wrong).status_code for _ in range(5)]
    assert statuses == [401] * 10
    assert client.get("/api/v1/fleet", headers=wrong).json["error"]["code"] == "too_many_failed_logins"
    assert client.get("/login").status_code == 429
    elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    assert client.get("/login", headers=elsewhere).status_code == 200


def test_successful_logins_are_not_limited(app: Flask):
    assert [log_in(app.test_client()).status_code for _ in range(12)] == [302] * 12


def test_login_works_and_is_limited_while_the_store_is_away(settings: Settings):
    client = create_app(settings.replace(redis_url="redis://127.0.0.1:1/0")).test_client()
    assert log_in(client).status_code == 302
    client = create_app(settings.replace(redis_url="redis://127.0.0.1:1/0")).test_client()
    assert [log_in(client, "wrong").status_code for _ in range(10)] == [401] * 10
    assert client.get("/login").status_code == 429
