from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import redis

import settings as application_settings
from local.valkey import EmbeddedValkey
from store.connection import connect, connect_async
from store.query import Query
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server whose default user has the password `secret`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = EmbeddedValkey(tmp_path, port=port)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "secret")
    yield server
    server.stop()


def settings_for(server: EmbeddedValkey, user_info: str) -> Settings:
    url = server.url.replace("redis://", f"redis://{user_info}@")
    return application_settings.load({"REDIS_URL": url, "ALLOW_ANONYMOUS": "true"}, "tcp")


@pytest.mark.parametrize("user_info", [":secret", "default:secret", "my-app-3030:secret"])
async def test_a_user_that_does_not_exist_is_left_out(server: EmbeddedValkey, user_info: str) -> None:
    settings = settings_for(server, user_info)
    with connect(settings) as client:
        assert client.ping()
    async with connect_async(settings) as client_async:
        assert await client_async.ping()


async def test_a_wrong_password_is_an_error(server: EmbeddedValkey) -> None:
    settings = settings_for(server, "my-app-3030:wrong")
    with connect(settings, retries=0) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    async with connect_async(settings, retries=0) as client_async:
        with pytest.raises(redis.AuthenticationError):
            await client_async.ping()


def test_ping_does_not_wait_for_a_server_that_hangs(server: EmbeddedValkey) -> None:
    with connect(settings_for(server, ":secret")) as client:
        query = Query(client, settings_for(server, ":secret"))
        assert query.ping()
        server.pause()
        try:
            assert not query.ping()
        finally:
            server.resume()
        eventually(query.ping, "the server answers again")
