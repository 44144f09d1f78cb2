from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from local.valkey import EmbeddedValkey, FolderInUseError
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., EmbeddedValkey]


@pytest.fixture
def make() -> Iterator[Callable[..., EmbeddedValkey]]:
    """Make servers, and stop them at the end."""
    made: list[EmbeddedValkey] = []

    def make_one(folder: Path, **options: Any) -> EmbeddedValkey:
        made.append(EmbeddedValkey(folder, **options))
        return made[-1]

    yield make_one
    for valkey in made:
        valkey.stop()


@pytest.fixture
def server(tmp_path: Path, make: Make) -> EmbeddedValkey:
    valkey = make(tmp_path / "data")
    valkey.start()
    return valkey


def test_a_killed_server_has_its_data_when_it_is_back(server: EmbeddedValkey):
    with redis.Redis.from_url(server.url) as client:
        for number in range(500):
            client.rpush("numbers", number)
    server.kill()
    assert not server.is_running
    server.start()
    assert server.is_running
    with redis.Redis.from_url(server.url) as client:
        assert client.llen("numbers") == 500


def test_a_folder_has_one_server(server: EmbeddedValkey, make: Make):
    second = make(server.folder)
    with pytest.raises(FolderInUseError, match="in use by another server"):
        second.start()
    server.stop()
    second.start()
    assert second.is_running


def test_a_killed_server_keeps_its_folder_until_it_is_stopped(server: EmbeddedValkey, make: Make):
    server.kill()
    with pytest.raises(FolderInUseError):
        make(server.folder).start()


def test_a_deep_folder_does_not_exceed_the_length_of_a_socket_path(tmp_path: Path, make: Make):
    valkey = make(tmp_path / ("deep" * 30))
    valkey.start()
    socket_folder = Path(valkey.url.removeprefix("unix://")).parent
    assert len(valkey.url) < 100
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
    valkey.stop()
    assert not socket_folder.exists()


def test_a_port_is_served_where_one_is_given(tmp_path: Path, make: Make):
    valkey = make(tmp_path, port=free_port())
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()


def test_a_server_that_cannot_start_says_where_the_reason_is(tmp_path: Path, make: Make):
    valkey = make(tmp_path, options=("--no-such-option", "1"))
    with pytest.raises(RuntimeError, match=r"see .*valkey\.log"):
        valkey.start()
    valkey.stop()
    assert "no-such-option" in (tmp_path / "valkey.log").read_text()


def test_stopping_what_does_not_run_is_harmless(tmp_path: Path, make: Make):
    valkey = make(tmp_path)
    valkey.stop()
    assert not valkey.is_running
    with pytest.raises(RuntimeError, match="not started"):
        _ = valkey.pid
