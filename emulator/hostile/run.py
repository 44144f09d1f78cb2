"""One run: each scenario with its bystander, its wait, its checks; then the table."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

from emulator.hostile import report, service
from emulator.hostile.client import ServiceError
from emulator.hostile.monitor import Monitor
from emulator.hostile.outcome import Outcome
from emulator.hostile.processes import BystanderProcess, attack, clean_up

if TYPE_CHECKING:
    from emulator.hostile.arguments import Options
    from emulator.hostile.scenario import Scenario

CALM_S = 1.0
"""From the bystander's first answer to the attack."""
RESTART_S = 30.0


def run(options: Options) -> bool:
    """Run all scenarios, print what comes of each, and return whether all are ok."""
    outcomes = []
    for scenario in options.scenarios:
        outcome = _try(scenario, options)
        outcomes.append(outcome)
        print("\n".join([report.line(outcome), *report.details(outcome)]), flush=True)
    print(f"\n{report.summary(outcomes)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report.for_machines(outcomes), indent=1))
    return all(outcome.is_ok for outcome in outcomes)


def _try(scenario: Scenario, options: Options) -> Outcome:
    outcome = Outcome(scenario.name, options.memory_limit)
    try:
        with BystanderProcess(options.target, is_on_dashboard=scenario.is_on_dashboard) as bystander:
            _attack(scenario, options, outcome, bystander)
    except ServiceError as error:
        outcome.not_run = f"no service before the attack: {error}"
    return outcome


def _attack(scenario: Scenario, options: Options, outcome: Outcome, bystander: BystanderProcess) -> None:
    time.sleep(CALM_S)
    with Monitor(options.pids, options.redis_url) as monitor:
        began_s = time.monotonic()
        done = attack(
            options.target, scenario.name, seconds=options.seconds, scale=options.scale, seed=options.seed
        )  # fmt: skip
        outcome.seconds = time.monotonic() - began_s
        time.sleep(options.wait_s)
        monitor.conclude()
    outcome.counts, outcome.sent_bytes, outcome.memory = done.counts, done.moved_bytes, monitor.memory
    if done.failure:
        outcome.counts[f"attacker: {done.failure}"] += 1
    outcome.service = _check(options)
    outcome.seen = bystander.conclude()
    if options.restart:
        outcome.restart = _restart(options)
    clean_up(options.target, done)


def _check(options: Options) -> str:
    failure = service.check(options.target)
    if not failure and options.target.dashboard_port:
        return service.check_dashboard(options.target)
    return failure


def _restart(options: Options) -> str:
    """Run the operator's command and return "" when the broker then serves within RESTART_S, else why not."""
    ended = subprocess.run(options.restart, shell=True, check=False, capture_output=True)  # noqa: S602  it is theirs
    if ended.returncode:
        return f"`{options.restart}` ended with status {ended.returncode}"
    deadline_s = time.monotonic() + RESTART_S
    while (failure := _check(options)) and time.monotonic() < deadline_s:
        time.sleep(0.5)
    return failure
