"""A store that refuses writes: it is logged when that begins and when it ends, and $SYS has the reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
import redis
from broker_process import eventually
from raw import RawClient

from broker.cluster.store_refusal import LOG_INTERVAL_S, StoreRefusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess

    from local.valkey import EmbeddedValkey

MODES = {
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
}
RETRIES_S = 4.0  # as long as some eight retries take
each_mode = pytest.mark.parametrize("mode", MODES)


def _lines(process: BrokerProcess) -> list[str]:
    return [line for line in process.log.splitlines() if " The store " in line]


@each_mode
def test_a_start_on_a_store_that_refuses_is_logged_once(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, mode: str
) -> None:
    begin, end = MODES[mode]
    with redis.Redis.from_url(store.url) as client:
        client.execute_command(*begin)
        process = start_broker()
        eventually(lambda: mode in process.log, "a line with the reason")
        time.sleep(RETRIES_S)
        assert len(_lines(process)) == 1
        client.execute_command(*end)
        eventually(lambda: len(_lines(process)) == 2, "a line that it is over")
    with RawClient(process.host, process.port) as publisher:
        publisher.connect("c")
        assert publisher.publish("t", b"x", qos=1) in (0, 0x10)


@each_mode
def test_an_idle_broker_notices_and_says_so_in_sys(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, mode: str
) -> None:
    begin, end = MODES[mode]
    process = start_broker()
    with redis.Redis.from_url(store.url) as client, RawClient(process.host, process.port) as operator:
        operator.connect("operator")
        operator.subscribe(("$SYS/broker/store/state", 0))
        client.execute_command(*begin)
        while (state := operator.receive_publish(deadline_s=20).payload) == b"ok":
            pass
        assert state.startswith(f"not accepting: {mode} ".encode())
        assert b"script" not in state
        operator.send(mqtt.publish(5, "t", b"x", qos=1, packet_id=100))
        operator.expect_nothing(RETRIES_S)
        assert len(_lines(process)) <= 2  # of the heartbeat, and of the commit
        client.execute_command(*end)
        operator.receive(mqtt.PUBACK)
        while operator.receive_publish(deadline_s=20).payload != b"ok":
            pass
    assert "Traceback" not in process.log


def test_lines_are_a_minute_apart(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusal = StoreRefusal(lambda: now[0])
    error = RuntimeError("MISCONF Errors writing to the AOF file. script: on @user_script:57.")
    for second in range(int(2 * LOG_INTERVAL_S) + 1):
        now[0] = float(second)
        refusal.refused(error)
    assert len(caplog.messages) == 3
    assert "does not accept what this node writes: MISCONF Errors writing to the AOF file. " in caplog.messages[0]
    assert "still accepts nothing" in caplog.messages[1]
    refusal.accepted()
    assert refusal.reason == ""
    now[0] += 1
    refusal.refused(error)  # it comes and goes: no more lines for that
    refusal.accepted()
    assert len([line for line in caplog.messages if "accepts what" not in line]) == 3
