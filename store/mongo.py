"""Connect to MongoDB, 4.0 to 8: one place for time-outs, the platform's certificate and the database's name.

Nothing here does I/O: a client connects with its first command, and again whenever it has to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pymongo import AsyncMongoClient, MongoClient
from pymongo.write_concern import WriteConcern

from store.documents import CODEC_OPTIONS

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

    from settings import Settings

    Document = dict[str, Any]

PLATFORM_CA = Path("/usr/share/ca-certificates/Scalingo/scalingo-database.pem")
PLATFORM_DOMAIN = ".scalingo-dbs.com"
DATABASE = "broker"  # where the URL names none
SELECTION_TIMEOUT_S = 2.0
SOCKET_TIMEOUT_S = 20.0
MESSAGES = "messages"
ROLLUPS = "rollups"
DURABLE = WriteConcern(w="majority", j=True)
"""A write with it has been fsynced by a majority of the servers when it returns."""


def connect_mongo(settings: Settings) -> Database[Document]:
    """Return the database of MONGO_URL for threads; `database.client.close()` ends it."""
    client: MongoClient[Document] = MongoClient(settings.mongo_url, connect=False, **_options(settings.mongo_url))
    return client.get_default_database(DATABASE, codec_options=CODEC_OPTIONS, write_concern=DURABLE)


def connect_mongo_async(settings: Settings) -> AsyncDatabase[Document]:
    """Return the database of MONGO_URL for an event loop; `await database.client.close()` ends it."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(settings.mongo_url, **_options(settings.mongo_url))
    return client.get_default_database(DATABASE, codec_options=CODEC_OPTIONS, write_concern=DURABLE)


def _options(url: str) -> dict[str, Any]:
    """Return what the URL does not say; what it says wins."""
    options: dict[str, Any] = {
        "appname": "iot-mqtt-broker",
        "serverSelectionTimeoutMS": int(SELECTION_TIMEOUT_S * 1000),
        "connectTimeoutMS": int(SELECTION_TIMEOUT_S * 1000),
        "socketTimeoutMS": int(SOCKET_TIMEOUT_S * 1000),
        "retryWrites": False,  # ours can be repeated as they are; a single server of 4.0 knows no other kind
    }
    parts = urlsplit(url)
    given = {pair.partition("=")[0].lower() for pair in parts.query.split("&")}
    options = {name: value for name, value in options.items() if name.lower() not in given}
    is_platforms = PLATFORM_DOMAIN in parts.netloc.lower()
    if is_platforms and given & {"ssl", "tls"} and "tlscafile" not in given and PLATFORM_CA.exists():
        options["tlsCAFile"] = str(PLATFORM_CA)
    return options
