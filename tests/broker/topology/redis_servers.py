"""Debian's redis-server as people run several of them: a cluster of three masters with replicas, and Sentinels."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis
from broker_process import HOST, eventually
from redis.backoff import NoBackoff
from redis.retry import Retry

from local.parent_death import ending_with_parent
from tests.ports import free_port

START_DEADLINE_S = 30.0
DOWN_AFTER_MS = 1000
MASTER_NAME = "mymaster"


class RedisServer:
    """One `redis-server`, or a Sentinel, on a free port of 127.0.0.1; ends with this process."""

    def __init__(self, folder: Path, *arguments: str, password: str = "") -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self.port}-", dir=folder))
        self._arguments = arguments
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", *self._arguments, "--port", str(self.port), "--bind", HOST]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                ending_with_parent(command, signal.SIGKILL),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, f"redis-server answers on port {self.port}", START_DEADLINE_S)

    def ask(self, *command: Any) -> Any:
        with redis.Redis(HOST, self.port, password=self._password or None, retry=Retry(NoBackoff(), 0)) as client:
            return client.execute_command(*command)

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        """End it as a crash would. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.ConnectionError:
            return False


class Servers:
    """A topology of the store: where it is, and what can happen to it."""

    url: str

    def __init__(self, servers: list[RedisServer], sentinels: list[RedisServer] | None = None) -> None:
        self._servers = servers
        self._sentinels = sentinels or []

    def start(self) -> None:
        """Start every server and return when each knows the others."""
        raise NotImplementedError

    def server_of(self, key: str) -> RedisServer:
        """Return the master that holds a key."""
        raise NotImplementedError

    def await_replicated(self, key: str) -> None:
        """Return when a replica has what the master of a key has."""
        master = self.server_of(key)

        def is_replicated() -> bool:
            state = master.ask("INFO", "replication")
            replica = state.get("slave0", {})
            return bool(replica.get("state") == "online" and replica["offset"] == state["master_repl_offset"])

        eventually(is_replicated, "a replica has everything", START_DEADLINE_S)

    def stop(self) -> None:
        for server in [*self._sentinels, *self._servers]:
            server.kill()

    def _server_on(self, port: int) -> RedisServer:
        return next(server for server in self._servers if server.port == port)


class Cluster(Servers):
    """Three masters with a replica each."""

    def __init__(self, folder: Path) -> None:
        self._nodes = [_cluster_node(folder) for _ in range(6)]
        super().__init__(self._nodes)
        addresses = [f"{HOST}:{node.port}" for node in self._nodes]
        self.url = f"redis+cluster://{','.join(addresses[:3])}"
        self._addresses = addresses

    def start(self) -> None:
        for node in self._nodes:
            node.start()
        create = ["redis-cli", "--cluster", "create", *self._addresses, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(
            create, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=START_DEADLINE_S
        )
        eventually(self._is_whole, "every node sees a whole cluster", START_DEADLINE_S)

    def server_of(self, key: str) -> RedisServer:
        alive = next(node for node in self._nodes if node.is_running)
        slot = alive.ask("CLUSTER KEYSLOT", key)
        for first, last, (_, port, *_), *_ in alive.ask("CLUSTER SLOTS"):
            if first <= slot <= last:
                return self._server_on(port)
        raise AssertionError(f"no master has slot {slot}")

    def _is_whole(self) -> bool:
        def sees_all(node: RedisServer) -> bool:
            state, replication = node.ask("CLUSTER INFO"), node.ask("INFO", "replication")
            link = replication.get("master_link_status", "up")
            return state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == 6 and link == "up"

        return all(map(sees_all, self._nodes))


class Sentinels(Servers):
    """A master and a replica with a password, watched by three Sentinels that have none."""

    password = "hunter2"

    def __init__(self, folder: Path) -> None:
        login = ("--requirepass", self.password, "--masterauth", self.password, "--save", "")
        master = RedisServer(folder, *login, password=self.password)
        replica = RedisServer(folder, *login, "--replicaof", f"{HOST} {master.port}", password=self.password)
        sentinels = [_sentinel(folder, master.port, self.password) for _ in range(3)]
        super().__init__([master, replica], sentinels)
        addresses = ",".join(f"{HOST}:{each.port}" for each in sentinels)
        self.url = f"redis+sentinel://:{self.password}@{addresses}/{MASTER_NAME}/1"

    def start(self) -> None:
        for server in [*self._servers, *self._sentinels]:
            server.start()
        eventually(self._is_whole, "every Sentinel knows all others and the replica", START_DEADLINE_S)

    def server_of(self, _: str) -> RedisServer:
        host_and_port = self._sentinels[0].ask("SENTINEL GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        return self._server_on(int(host_and_port[1]))

    def _is_whole(self) -> bool:
        states = [each.ask("SENTINEL MASTER", MASTER_NAME) for each in self._sentinels]
        return all(int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == 1 for state in states)


def _cluster_node(folder: Path) -> RedisServer:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_AFTER_MS), "--cluster-announce-ip", HOST)
    return RedisServer(folder, *options, "--save", "", "--cluster-port", str(free_port()))


def _sentinel(folder: Path, master_port: int, password: str) -> RedisServer:
    file = folder / f"sentinel-{free_port()}.conf"
    file.write_text(
        f"sentinel monitor {MASTER_NAME} {HOST} {master_port} 2\n"
        f"sentinel auth-pass {MASTER_NAME} {password}\n"
        f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {MASTER_NAME} 5000\n"
    )
    return RedisServer(folder, str(file), "--sentinel")
