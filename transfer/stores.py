"""What a command of the transfer works on: both stores, open for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.cluster_link import views_link
from store.connection import connect_async
from store.imported_views import ImportedViews
from transfer.long_import import LongImport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settings import Settings
    from store.cluster_link import ClusterLink
    from store.link import StoreLink


@dataclass(frozen=True)
class Stores:
    """Redis as commands need it, and MongoDB where there is one."""

    client: Any
    link: StoreLink | ClusterLink
    views: ImportedViews
    long_import: LongImport | None


@contextlib.asynccontextmanager
async def opened_stores(settings: Settings) -> AsyncIterator[Stores]:
    """Connect to the stores; disconnect at the end. Raises redis.RedisError, PyMongoError or OSError."""
    async with contextlib.AsyncExitStack() as opened:
        client = await opened.enter_async_context(contextlib.aclosing(connect_async(settings)))
        link = views_link(client, settings)
        running = asyncio.create_task(link.run())
        opened.callback(running.cancel)
        long_import = LongImport(settings) if settings.mongo_url else None
        if long_import is not None:
            opened.push_async_callback(long_import.close)
            await long_import.open()
        yield Stores(client, link, ImportedViews(client, settings, link), long_import)
