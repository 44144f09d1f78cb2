"""The model run: any order of what devices, nodes and the store do, judged by a ledger (docs/delivery.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    import pytest

    from tests.delivery.model import Model

STEPS = 30
EXAMPLES = 200


def test_what_was_acknowledged_is_delivered(new_model: type[Model], request: pytest.FixtureRequest) -> None:
    examples = request.config.getoption("--examples", EXAMPLES)
    profile = settings(
        max_examples=examples,
        derandomize=examples == EXAMPLES,  # the same orders of events at every run; others with --examples
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(new_model, settings=profile)  # type: ignore[no-untyped-call]
