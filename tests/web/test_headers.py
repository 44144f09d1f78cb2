"""Headers that keep browsers safe, and caching of static files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import web

if TYPE_CHECKING:
    from flask.testing import FlaskClient

STATIC = Path(web.__file__).parent / "static"


@pytest.mark.parametrize("path", ["/login", "/healthz", "/nowhere", "/api/v1/nowhere"])
def test_every_answer_carries_a_strict_policy(client: FlaskClient, path: str):
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


def test_pages_have_no_inline_script_or_style(operator: FlaskClient):
    for path in ("/", "/devices", "/live", "/api", "/login"):
        text = operator.get(path, follow_redirects=True).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), path
        assert not re.search(r'(src|href)="(https?:)?//', text), path


def test_static_files_may_be_kept_for_ever_under_a_name_that_changes(client: FlaskClient):
    text = client.get("/login").text
    found = re.search(r'href="(/static/[0-9a-f]{12}/dashboard\.css)"', text)
    assert found
    with client.get(found[1]) as response:
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_vendored_files_are_the_ones_listed():
    listed = re.findall(
        r"^\| [\w.]+ \| [\d.]+ \| (\S+) \| .* \| (\w{64}) \|$",
        (STATIC / "vendor/VENDORED.md").read_text(),
        re.MULTILINE,
    )
    actual = {
        path.relative_to(STATIC / "vendor").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "vendor").rglob("*")
        if path.is_file() and path.name != "VENDORED.md"
    }
    assert dict(listed) == actual
