"""Lua scripts that the store runs: files in `scripts/`, known to the store by the SHA-1 of their text."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from store.cluster_link import ClusterLink
    from store.link import StoreLink

UP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Script:
    """A script's text, and the name under which EVALSHA finds it once it is loaded."""

    source: str
    sha: str


def load_script(*names: str) -> Script:
    """Read scripts/NAME.lua; several names make one script of their texts in that order."""
    folder = resources.files("store") / "scripts"
    source = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class ScriptRunner:
    """Runs scripts over a link, many in one round trip.

    redis-py's asyncio client packs commands in Python, at 70 µs a call; `client` only loads what the store has forgotten.
    """

    def __init__(self, client: Redis, link: StoreLink | ClusterLink) -> None:
        self._redis: Any = client
        self._link = link

    async def run(self, calls: Iterable[tuple[Script, list[str], list[Any]]]) -> list[Any]:
        """Run each script with its keys and arguments; return the answers.

        Scripts may run twice, where the store had forgotten some of them: they have to refuse what is applied.
        Raises redis.RedisError or OSError when the store does not do it.
        """
        calls = list(calls)
        answers = await self._send(calls)
        if any(map(_is_script_unknown, answers)):
            for script in {script.sha: script for script, _, _ in calls}.values():
                await self._redis.script_load(script.source)
            answers = await self._send(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise redis.ResponseError(str(answer))
        return answers

    async def _send(self, calls: list[tuple[Script, list[str], list[Any]]]) -> list[Any]:
        await asyncio.wait_for(self._link.wait_up(), UP_TIMEOUT_S)
        commands = [("EVALSHA", script.sha, len(keys), *keys, *arguments) for script, keys, arguments in calls]
        return await self._link.send(commands)


def _is_script_unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError) or (isinstance(answer, Exception) and str(answer).startswith("NOSCRIPT"))
