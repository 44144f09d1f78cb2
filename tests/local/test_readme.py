"""What the README and the Makefile promise exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings import TABLE
from web.api.openapi import document

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/platform.md",
    "docs/settings.md",
    "docs/storage.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_local_links_lead_somewhere(page: str):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / page).read_text())
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str):
    named = set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z]+)`|^make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_settings_in_the_readme_exist():
    names = {name for setting in TABLE for name in (setting.name, *setting.aliases)}
    local = {"MQTT_PORT", "WEB_PORT", "DATA_DIR", "DEMO", "DASHBOARD", "LOGIN"}
    shouted = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", (ROOT / "README.md").read_text()))
    assert shouted <= names | local


def test_the_readmes_api_examples_are_described():
    examples = re.findall(r"\$DASHBOARD(/api/v1/[^\"?]+)\??([^\"]*)", (ROOT / "README.md").read_text())
    assert len(examples) >= 5
    paths = document()["paths"]
    for path, query in examples:
        operation = paths[path.replace("sensor-0001", "{device_id}")]["get"]
        described = {parameter["name"] for parameter in operation["parameters"]}
        assert {pair.partition("=")[0] for pair in query.split("&") if pair} <= described
