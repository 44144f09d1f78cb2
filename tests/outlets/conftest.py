from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ingest import settings_for

from store.connection import connect
from store.mongo import connect_mongo

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from pymongo.database import Database

    from settings import Settings
    from store.documents import Document

pytest.register_assert_rewrite("recount")


@pytest.fixture
def settings(redis_url: str, mongo_url: str) -> Settings:
    return settings_for(redis_url, mongo_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[Document]]:
    database = connect_mongo(settings)
    yield database
    database.client.close()
