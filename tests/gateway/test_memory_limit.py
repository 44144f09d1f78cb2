"""Containers are held to their size: the gateway kills one that outgrows it, and says which and when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from gateway_process import Client, GatewayProcess, eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_MB = 96
TOO_MUCH = 150_000_000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    made = GatewayProcess(tmp_path)
    made.start("--containers", "2", "--memory-mb", str(LIMIT_MB))
    yield made
    made.clean_up()


@pytest.mark.parametrize("verb", ["hold", "spike", "child"])
def test_a_container_that_outgrows_its_size_is_killed_and_started_again(gateway: GatewayProcess, verb: str):
    with Client(gateway) as client:
        name, pid = client.who()
        client.send(f"{verb} {TOO_MUCH}")
        eventually(
            lambda: re.search(rf"{name}\[{pid}\] +ended with OOM", gateway.output), "it is killed for its memory"
        )
    assert not is_alive(pid)
    eventually(lambda: gateway.output.count("ready after") == 3, "another one is there")
    assert re.search(rf"{name} +crashed: started again in 0 s", gateway.output)
    summary = gateway.summary()
    ending = re.search(rf"\n  {name}\[{pid}\] .*ended with OOM at \d+\.\d s, held at most (\d+) MiB\n", summary)
    assert ending is not None, summary
    assert int(ending[1]) >= LIMIT_MB
    assert summary.count("OOM") == 2  # in the counts as well; the others kept their size
    assert len(re.findall(r"ended with status 0.*held at most [1-9]\d? MiB", summary)) == 2


def test_a_container_is_told_its_size_and_keeps_what_fits(gateway: GatewayProcess):
    with Client(gateway) as client:
        assert client.ask("size") == str(LIMIT_MB * 2**20)
        client.ask("hold 40000000")
        eventually(lambda: re.search(r"at most [4-9]\d MiB", gateway.act("status")), "its memory is seen")
    assert "OOM" not in gateway.summary()


def test_without_a_size_nothing_is_said_of_memory(tmp_path: Path):
    gateway = GatewayProcess(tmp_path).start()
    with Client(gateway) as client:
        assert client.ask("size") == "None"
        assert "MiB" not in gateway.act("status")
    summary = gateway.summary()
    gateway.clean_up()
    assert "MiB" not in summary
