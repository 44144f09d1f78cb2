"""What brokers, projectors and the gateway hold does not grow with those who come and go.

    python -m pytest tests/cluster/test_growth.py --visits 25000 --timeout 0 -s

is the long form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from store import schema
from tests.broker.broker_process import eventually
from tests.cluster.chaos import CONTAINERS, Chaos
from tests.cluster.growth import EXPIRY_S, Held, Visits, held
from tests.cluster.leftovers import leftovers

if TYPE_CHECKING:
    from pathlib import Path

WARM_UP = 4
"""One visit of so many: what a busy moment takes is taken by then, and not given back."""
STEPS = 10
MAX_GROWTH_KIB = 1024
"""Less than 3 KiB a visit to one container of three; in the long form, less than 130 bytes."""
PATIENCE_S = 30 + EXPIRY_S


@pytest.fixture
def chaos(tmp_path: Path):
    with Chaos(tmp_path) as running:
        yield running


def is_quiet(chaos: Chaos) -> bool:
    """Whether nothing is left of any visit: no session, no subscription, and in the store no owner and no queue."""
    with redis.Redis.from_url(chaos.store.url, decode_responses=True) as store:
        nodes = [store.hgetall(schema.node_info(node_id)) for node_id in store.zrange(schema.NODES, 0, -1)]
        kept = list(store.scan_iter("{log}:*:visitor-*"))
        counts = [int(node[name]) for node in nodes for name in ("connections", "sessions", "subscriptions")]
        return len(nodes) == CONTAINERS and not any(counts) and not kept and not store.hlen(schema.OWNERS)


def show(visits: int, rate: float, now: dict[str, Held]) -> None:
    figures = ", ".join(f"{name} {each.kib / 1024:.1f} MiB {each.descriptors}" for name, each in now.items())
    print(f"{visits:7,} visits, {rate:.0f}/s: {figures}")


def test_nothing_grows_with_visits(chaos: Chaos, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--visits", 1200)
    visits, step, warm_up = Visits(chaos.gateway.port), count // STEPS, count // WARM_UP
    visits.make(range(warm_up))
    eventually(lambda: is_quiet(chaos), "all visitors are forgotten", PATIENCE_S)
    before = held(chaos)
    for first in range(warm_up, warm_up + step * STEPS, step):
        seconds = visits.make(range(first, first + step))
        show(first + step, step / seconds, held(chaos))
    eventually(lambda: is_quiet(chaos), "all visitors are forgotten", PATIENCE_S)
    after = held(chaos)
    show(warm_up + step * STEPS, 0, after)
    assert {name: each.descriptors for name, each in after.items()} == {
        name: each.descriptors for name, each in before.items()
    }
    assert {name: each.kib for name, each in after.items() if each.kib > before[name].kib + MAX_GROWTH_KIB} == {}
    assert leftovers(chaos.store.url) == []
