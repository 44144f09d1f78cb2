"""The broker behind the gateway: a fleet that is there through deployments, and one that a kill leaves hanging."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from gateway_process import ROOT, GatewayProcess, eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def broker_gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    made = GatewayProcess(tmp_path, ROOT / "Procfile")
    yield made
    made.clean_up()


def start_fleet(gateway: GatewayProcess, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "emulator", "fleet", "--url", f"tcp://127.0.0.1:{gateway.port}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_fleet_gets_every_acknowledgement_through_deployments(broker_gateway: GatewayProcess, redis_url: str):
    gateway = broker_gateway.start(REDIS_URL=redis_url, ALLOW_ANONYMOUS="true")
    fleet = start_fleet(gateway, "--devices", "20", "--rate", "100", "--drain-timeout", "20")
    for count in (1, 2):
        eventually(lambda: " 20 connections\n" in gateway.act("status"), "the fleet is connected")
        gateway.act("deploy")
        eventually(lambda count=count: gateway.output.count("ended with status 0") == count, "the old one has left")
    eventually(lambda: " 20 connections\n" in gateway.act("status"), "the fleet is connected again")
    fleet.send_signal(signal.SIGINT)
    output, _ = fleet.communicate(timeout=60)
    assert fleet.returncode == 0, output
    summary = gateway.summary()
    assert "3 status 0;" in summary, gateway.output
    assert "0 left hanging" in summary
    assert not any(map(is_alive, gateway.container_pids))
