"""A Redis that answers and takes no writes: /readyz and the overview say so and why, and the dashboard works."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis
from dashboard_process import await_true, environment, log_in

from local.valkey import EmbeddedValkey
from settings import load
from web import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Refusing = Callable[[redis.Redis, Path], AbstractContextManager[None]]


@contextmanager
def replica(store: redis.Redis, _folder: Path) -> Iterator[None]:
    store.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        store.replicaof("NO", "ONE")


@contextmanager
def missing_replicas(store: redis.Redis, _folder: Path) -> Iterator[None]:
    store.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        store.config_set("min-replicas-to-write", 0)


@contextmanager
def failing_disk(store: redis.Redis, folder: Path) -> Iterator[None]:
    (folder / "in-the-way.rdb").unlink(missing_ok=True)
    (folder / "in-the-way.rdb").mkdir()
    store.bgsave()
    await_true(lambda: store.info("persistence")["rdb_last_bgsave_status"] == "err", "it cannot save")
    try:
        yield
    finally:
        (folder / "in-the-way.rdb").rmdir()
        store.bgsave()
        await_true(lambda: store.info("persistence")["rdb_last_bgsave_status"] == "ok", "it can save again")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("valkey")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    server = EmbeddedValkey(folder, options=("--save", "3600 1", "--dbfilename", "in-the-way.rdb"))
    server.start()
    yield server.url
    server.stop()


@pytest.mark.parametrize(
    ("refusing", "reason"),
    [
        (replica, "Redis is a read-only replica"),
        (missing_replicas, "Redis has fewer replicas than its min-replicas-to-write"),
        (failing_disk, "Redis cannot save to its disk and takes no writes until it can"),
    ],
)
def test_a_store_that_takes_no_writes_is_not_ready(url: str, folder: Path, refusing: Refusing, reason: str):
    app = create_app(load(environment(url), "web"))
    client = app.test_client()
    assert client.get("/readyz").json == {"status": "ready"}
    with redis.Redis.from_url(url) as store, refusing(store, folder):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json) == (503, {"status": "not_accepting", "reason": reason})
        assert log_in(client).status_code == 302
        assert f"{reason}: no message is acknowledged" in client.get("/").text
        assert log_in(app.test_client(), "wrong").status_code == 401  # counted by the process itself
    assert client.get("/readyz").json == {"status": "ready"}
