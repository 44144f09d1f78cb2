"""The dashboard against a real store: in process, under gunicorn, and in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboard_process import DEADLINE_S, PASSWORD, USERNAME, environment, log_in, served
from fleet_seed import Seed
from playwright.sync_api import expect, sync_playwright

from settings import load
from web import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from flask.testing import FlaskClient
    from playwright.sync_api import Browser, Page

    from local.valkey import EmbeddedValkey
    from settings import Settings

CHROMIUM = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load(environment(redis_url), "web")


@pytest.fixture
def seed(redis_url: str) -> Iterator[Seed]:
    seed = Seed(redis_url)
    yield seed
    seed.close()


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def operator(client: FlaskClient) -> FlaskClient:
    """A client that has logged in."""
    assert log_in(client).status_code == 302
    return client


@pytest.fixture(scope="session")
def gunicorn_address(valkey_server: EmbeddedValkey) -> Iterator[str]:
    """The dashboard under gunicorn, once for all: its store is emptied before each test, it keeps nothing itself."""
    with served(valkey_server.url, "quick_heartbeat:app") as (address, _process):
        yield address


@pytest.fixture
def address(gunicorn_address: str, redis_url: str) -> str:
    """Where the dashboard of an empty store is."""
    return gunicorn_address


# --- in a browser


expect.set_options(timeout=DEADLINE_S * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A logged-in page; fails the test if the console says anything bad."""
    complaints: list[str] = []
    context = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(DEADLINE_S * 1000)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.get_by_label("User name").fill(USERNAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")
    yield page
    context.close()
    assert complaints == []
