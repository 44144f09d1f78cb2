from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from local.credentials import load_or_create

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"MQTT_USERNAME", "MQTT_PASSWORD", "DASHBOARD_USERNAME", "DASHBOARD_PASSWORD", "SECRET_KEY"}


def test_credentials_are_made_once(tmp_path: Path):
    path = tmp_path / "data" / "credentials"
    made = load_or_create(path)
    assert set(made) == NAMES
    assert load_or_create(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_folders_have_different_passwords(tmp_path: Path):
    first, second = load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b")
    for name in ("MQTT_PASSWORD", "DASHBOARD_PASSWORD", "SECRET_KEY"):
        assert first[name] != second[name]
        assert len(first[name]) >= 20


def test_what_is_missing_is_added_and_what_is_there_stays(tmp_path: Path):
    path = tmp_path / "credentials"
    path.write_text("MQTT_PASSWORD=a=b\n")
    path.chmod(0o644)
    credentials = load_or_create(path)
    assert credentials["MQTT_PASSWORD"] == "a=b"
    assert set(credentials) == NAMES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_spoilt_file_is_named_with_its_line(tmp_path: Path):
    path = tmp_path / "credentials"
    path.write_text("MQTT_USERNAME=device\nrubbish\n")
    with pytest.raises(ValueError, match="line 2"):
        load_or_create(path)
