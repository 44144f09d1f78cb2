"""Deploying, restarting, scaling and killing: what overlaps, what ends how, and what a failure leaves alone."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from gateway_process import ROOT, Client, GatewayProcess, eventually, is_alive

from emulator.gateway.formation import ActionError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_deploy_moves_new_connections_and_ends_the_old_containers(gateway: GatewayProcess):
    gateway.start("--containers", "2")
    old = gateway.container_pids
    with Client(gateway) as before:
        before.who()
        assert gateway.act("deploy").startswith("deployed in ")
        with Client(gateway) as after:
            assert after.who()[1] not in old
        assert before.receive_all() == b""
    eventually(lambda: not any(map(is_alive, old)), "the old ones are gone")
    summary = gateway.summary()
    assert "4 started, 0 never ready" in summary
    assert "4 status 0;" in summary
    assert "0 left hanging" in summary


def test_old_and_new_overlap_and_an_old_connection_stays_where_it_is(gateway: GatewayProcess):
    gateway.set_mode("deaf")
    gateway.start()
    (old,) = gateway.container_pids
    with Client(gateway) as before, Client(gateway) as also_before:
        gateway.act("deploy")
        with Client(gateway) as after:
            assert after.who()[1] != old
        assert (before.who()[1], also_before.who()[1]) == (old, old)
        assert f"tcp-1[{old}]" in gateway.act("status")
        assert "leaving" in gateway.act("status")
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in gateway.output, "the first signal was seen")
    assert gateway.finish(signal.SIGTERM) == (0, "")
    assert not any(map(is_alive, gateway.container_pids))


def test_a_server_that_leaves_without_closing_leaves_its_clients_hanging(gateway: GatewayProcess):
    gateway.set_mode("default")
    gateway.start()
    with Client(gateway) as client:
        client.who()
        gateway.act("deploy")
        eventually(lambda: "1 of them hanging" in gateway.act("status"), "the connection hangs")
        assert not client.has_news
    assert "SIGTERM" in gateway.summary()


def test_a_deploy_that_does_not_boot_leaves_the_old_containers_in_place(gateway: GatewayProcess):
    gateway.start("--containers", "2")
    with Client(gateway) as before:
        before.who()
        gateway.set_mode("broken")
        with pytest.raises(ActionError, match=r"deploy failed: tcp-\d\[\d+\] ended with status 3 before it accepted"):
            gateway.act("deploy")
        assert before.ask("still here") == "still here"
        with Client(gateway) as after:
            assert after.who()[1] in gateway.container_pids[:2]
    assert "failed: 1 deploy" in gateway.summary()


def test_one_operation_at_a_time_and_a_stop_ends_the_one_under_way(gateway: GatewayProcess):
    gateway.start()
    gateway.set_mode("late")
    answers: list[str] = []

    def deploy() -> None:
        try:
            gateway.act("deploy")
        except ActionError as error:
            answers.append(str(error))

    deploying = threading.Thread(target=deploy)
    deploying.start()
    eventually(lambda: "booting" in gateway.act("status"), "the new container boots")
    with pytest.raises(ActionError, match="scale 2 failed: deploy is under way"):
        gateway.act("scale 2")
    assert gateway.finish(signal.SIGTERM) == (0, "")
    deploying.join()
    assert answers == ["deploy failed: the gateway stops"]
    assert not any(map(is_alive, gateway.container_pids))


def test_scaling_up_and_down(gateway: GatewayProcess):
    gateway.start()
    assert gateway.act("scale 3") == "scaled from 1 to 3"
    clients = [Client(gateway) for _ in range(3)]
    by_name = {client.who()[0]: client for client in clients}
    assert sorted(by_name) == ["tcp-1", "tcp-2", "tcp-3"]
    assert gateway.act("scale 1") == "scaled from 3 to 1"
    assert by_name["tcp-2"].receive_all() == b""
    assert by_name["tcp-3"].receive_all() == b""
    assert by_name["tcp-1"].ask("still here") == "still here"
    with Client(gateway) as client:
        assert client.who()[0] == "tcp-1"
    for client in clients:
        client.socket.close()


def test_a_restart_can_be_of_one_container(gateway: GatewayProcess):
    gateway.start("--containers", "2")
    first, second = gateway.container_pids
    gateway.act("restart tcp-2")
    eventually(lambda: not is_alive(second), "the old one is gone")
    assert is_alive(first)
    with pytest.raises(ActionError, match="there is no tcp-3"):
        gateway.act("restart tcp-3")


def test_a_killed_container_is_started_again(gateway: GatewayProcess):
    gateway.start()
    (old,) = gateway.container_pids
    for _ in range(2):
        gateway.act("kill tcp-1")
        eventually(lambda: "serving" in gateway.act("status"), "there is a new one")
    assert not is_alive(old)
    with Client(gateway) as client:
        assert client.who() == ("tcp-1", gateway.container_pids[-1])


def test_a_connection_made_while_nobody_serves_waits(gateway: GatewayProcess):
    gateway.start()
    gateway.set_mode("broken")
    gateway.act("kill tcp-1")
    eventually(lambda: "the next try in" in gateway.output, "the new one does not boot")
    with Client(gateway) as client:
        client.send("who")
        gateway.set_mode("")
        assert client.receive_line().startswith("tcp-1 ")
    assert "0 without a container" in gateway.summary()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_containers_in_order(gateway: GatewayProcess, signal_number: int):
    gateway.start("--containers", "3")
    with Client(gateway) as client:
        client.who()
        assert gateway.finish(signal_number) == (0, "")
        assert client.receive_all() == b""
    assert "3 status 0;" in gateway.output
    assert not any(map(is_alive, gateway.container_pids))
    assert not gateway.control.exists()


def test_a_frozen_container_that_was_replaced_leaves_when_it_goes_on(gateway: GatewayProcess):
    gateway.start()
    (old,) = gateway.container_pids
    gateway.act("stop tcp-1")
    gateway.act("deploy")
    assert "leaving" in gateway.act("status")
    _, new = gateway.container_pids
    assert gateway.act("cont tcp-1") == " and ".join(sorted(f"tcp-1[{pid}]" for pid in (old, new))) + " got SIGCONT"
    eventually(lambda: not is_alive(old), "the old one is gone")
    with pytest.raises(ActionError, match="there is no tcp-2"):
        gateway.act("cont tcp-2")
    assert "2 status 0;" in gateway.summary()


def test_a_frozen_container_leaves_in_order_when_the_gateway_stops(gateway: GatewayProcess):
    gateway.start("--containers", "2")
    gateway.act("stop tcp-1")
    assert "2 status 0;" in gateway.summary()


def test_a_killed_gateway_leaves_no_container(gateway: GatewayProcess):
    gateway.start("--containers", "2")
    assert all(map(is_alive, gateway.container_pids))
    gateway.finish(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, gateway.container_pids)), "the kernel ended them")


def test_a_container_that_does_not_boot_ends_the_start(gateway: GatewayProcess):
    gateway.set_mode("broken")
    status, errors = gateway.launch("--containers", "2").finish()
    assert status == 1
    assert "ended with status 3 before it accepted a connection\n" in errors
    assert len(errors.splitlines()) == 1
    assert not any(map(is_alive, gateway.container_pids))


def test_a_taken_port_is_one_line(gateway: GatewayProcess, tmp_path: Path):
    gateway.start()
    (tmp_path / "second").mkdir()
    second = GatewayProcess(tmp_path / "second")
    status, errors = second.launch("--port", str(gateway.port)).finish()
    complaint = f"No listening on 127.0.0.1:{gateway.port}: Address already in use. Choose another --port.\n"
    assert (status, errors) == (1, complaint)
    second.clean_up()


def test_a_control_socket_in_use_is_refused_and_an_orphaned_one_is_not(gateway: GatewayProcess, tmp_path: Path):
    gateway.start()
    (tmp_path / "second").mkdir()
    second = GatewayProcess(tmp_path / "second")
    status, errors = second.launch("--control", str(gateway.control)).finish()
    assert status == 1
    assert errors.startswith(f"{gateway.control} belongs to a gateway that runs")
    second.clean_up()
    assert "serving" in gateway.act("status")
    gateway.finish(signal.SIGKILL)
    gateway.start()
    assert "serving" in gateway.act("status")


def test_actions_from_the_command_line(gateway: GatewayProcess):
    gateway.start()

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "emulator", "gateway", *words, "--control", str(gateway.control)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stdout, done.stderr

    assert run("scale", "2") == (0, "scaled from 1 to 2\n", "")
    assert run("kill", "tcp-7") == (1, "", "kill tcp-7 failed: no tcp-7 serves\n")
    gateway.finish(signal.SIGTERM)
    assert run("deploy") == (1, "", f"no gateway at {gateway.control}: No such file or directory\n")


def test_a_schedule_is_followed(gateway: GatewayProcess, tmp_path: Path):
    script = tmp_path / "script"
    script.write_text("at 0.1 scale 2\nat 0.1 kill tcp-9 # there is none\nevery 0.3 status\n")
    gateway.start("--schedule", str(script))
    eventually(lambda: "scaled from 1 to 2\n" in gateway.output, "it is scaled")
    eventually(lambda: "kill tcp-9 failed: no tcp-9 serves\n" in gateway.output, "the kill has failed")
    summary = gateway.summary()
    assert "at 0.1 scale 2\n" in gateway.output
    assert "failed: 1 kill" in summary


def test_a_duration_ends_it_in_order(gateway: GatewayProcess):
    assert gateway.launch("--duration", "0.3").finish() == (0, "")
    assert "listens at" in gateway.output
    assert "1 status 0;" in gateway.output
    assert not any(map(is_alive, gateway.container_pids))


def test_chaos_says_what_it_does_as_lines_of_a_schedule(gateway: GatewayProcess):
    gateway.start("--containers", "2", "--chaos", "7", "--chaos-every", "0.2", "--chaos-actions", "kill,restart,stop")
    eventually(lambda: gateway.output.count(" at ") >= 8, "chaos goes on")
    summary = gateway.summary()
    assert "chaos with seed 7" in gateway.output
    assert "Traceback" not in gateway.output
    assert "actions " in summary
    assert not any(map(is_alive, gateway.container_pids))


def test_a_control_line_without_an_end_or_without_sense_harms_nobody(gateway: GatewayProcess):
    gateway.start()
    for line in (b"nonsense\n", b"\xff\n", b"x" * 5000):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(gateway.control))
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile().read()
            assert answer == "" or "is no action" in answer
    assert "serving" in gateway.act("status")
    assert "Traceback" not in gateway.output
