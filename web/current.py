"""What the application of this request holds: its settings, its questions to the store, its live tailer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from settings import Settings
    from store.query import Query
    from web.exports import Exports
    from web.live.tailer import Tailer


def settings() -> Settings:
    """Return the settings that the application was created with."""
    return cast("Settings", current_app.extensions["settings"])


def query() -> Query:
    """Return the questions to the store. They raise redis.RedisError, answered with 503, while it is away."""
    return cast("Query", current_app.extensions["query"])


def exports() -> Exports:
    """Return what reads whole selections of messages."""
    return cast("Exports", current_app.extensions["exports"])


def tailer() -> Tailer:
    """Return the one reader of the log that feeds every stream of this process."""
    return cast("Tailer", current_app.extensions["tailer"])
