"""Two installations on real servers: what one exports, the other imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from installation import Installation

from local.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(Path(tmp_path_factory.mktemp("other-valkey")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def here(redis_url: str) -> Iterator[Installation]:
    """An empty installation without MongoDB."""
    with Installation(redis_url) as installation:
        yield installation


@pytest.fixture
def there(other_server: EmbeddedValkey) -> Iterator[Installation]:
    """Another one."""
    with redis.Redis.from_url(other_server.url) as client:
        client.flushall()
    with Installation(other_server.url) as installation:
        yield installation
