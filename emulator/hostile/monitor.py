"""Memory while a scenario runs: of processes, and of Redis. A thread that looks several times a second."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from emulator.hostile.memory import Memory
from emulator.process_memory import tree, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

PERIOD_S = 0.1
REDIS_TIMEOUT_S = 2.0


class Monitor:
    """Use it with `with`; `pids` and `redis_url` may be empty."""

    def __init__(self, pids: Sequence[int], redis_url: str) -> None:
        self.memory = Memory()
        self._pids = pids
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        ) if redis_url else None  # fmt: skip
        self._processes: set[int] = set()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()  # a peak of the past does not count
        time.sleep(PERIOD_S)
        self.memory.before = self.memory.peak = self._look()
        self._processes = tree(self._pids)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._redis is not None:
            self._redis.close()

    def conclude(self) -> None:
        """Take what the processes hold now as what they hold afterwards."""
        self._look()
        time.sleep(PERIOD_S)
        self.memory.after = self._look()
        self.memory.ended = len(self._processes - tree(self._pids))

    def _watch(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self._look()
            self._look_at_redis()

    def _look(self) -> int | None:
        if not self._pids:
            return None
        with self._lock:
            held = tree_bytes(self._pids)
            if self._thread.is_alive():
                self.memory.peak = max(self.memory.peak or 0, held)
        return held

    def _look_at_redis(self) -> None:
        if self._redis is None:
            return
        with suppress(redis.RedisError):
            said = self._redis.info("memory")
            self.memory.redis_peak = max(self.memory.redis_peak or 0, int(said["used_memory"]))
            self.memory.redis_maximum = int(said["maxmemory"])
