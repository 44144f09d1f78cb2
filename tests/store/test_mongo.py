"""How MongoDB is connected to: what its address does not say, and the platform's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import store.mongo
from settings import load
from store.mongo import DATABASE, connect_mongo

if TYPE_CHECKING:
    from pathlib import Path

HOST = "mongodb://user:pw@db-1.mongo.a.osc-fr1.scalingo-dbs.com:30000"


def options_of(url: str) -> dict[str, object]:
    return store.mongo._options(url)


def test_what_the_address_says_wins():
    assert options_of("mongodb://host")["socketTimeoutMS"] == 20_000
    assert "socketTimeoutMS" not in options_of("mongodb://host/db?SocketTimeoutMS=5")


def test_the_platforms_servers_are_trusted_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate = tmp_path / "scalingo-database.pem"
    monkeypatch.setattr(store.mongo, "PLATFORM_CA", certificate)
    assert "tlsCAFile" not in options_of(f"{HOST}/db?ssl=true")
    certificate.touch()
    assert options_of(f"{HOST}/db?replicaSet=db-rs0&ssl=true")["tlsCAFile"] == str(certificate)
    assert "tlsCAFile" not in options_of(f"{HOST}/db")
    assert "tlsCAFile" not in options_of("mongodb://elsewhere.example/db?tls=true")


@pytest.mark.parametrize(("path", "name"), [("", DATABASE), ("/", DATABASE), ("/mine", "mine")])
def test_the_database_is_the_addresss_or_a_default(path: str, name: str):
    environment = {"REDIS_URL": "redis://host", "ALLOW_ANONYMOUS": "true", "MONGO_URL": f"mongodb://127.0.0.1:1{path}"}
    database = connect_mongo(load(environment, "tcp"))
    assert database.name == name
    database.client.close()
