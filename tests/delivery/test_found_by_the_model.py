"""Orders of events that the model has found, shrunk: what was wrong with each is its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.delivery.model import Model

GROUP = "$share/g/t/1"


@pytest.fixture
def model(new_model: Callable[[], Model]) -> Model:
    """Two nodes and three devices; `teardown` judges."""
    begun = new_model()
    begun.begin()
    return begun


def test_a_message_for_an_absent_member_at_another_node_that_is_sent_qos_0_ended_the_acknowledgements_of_its_batch(
    model: Model,
) -> None:
    model.connect(0, 0, "persistent", None)
    model.subscribe(0, GROUP, 0)
    model.disconnect(0)
    model.connect(1, 1, "clean", None)
    model.publish(1, "t/1", 1, False, 1)
    model.teardown()


def test_a_message_for_an_absent_member_that_is_sent_qos_0_was_given_to_it_for_ever(model: Model) -> None:
    model.connect(0, 0, "persistent", None)
    model.subscribe(0, GROUP, 0)
    model.disconnect(0)
    model.connect(1, 0, "clean", None)
    model.publish(1, "t/1", 1, False, 1)
    model.teardown()


def test_a_will_that_waited_for_memory_was_published_by_the_next_connection_as_well(model: Model) -> None:
    model.fill(True)
    model.connect(0, 0, "persistent", 0)
    model.lose(0)
    model.connect(0, 0, "persistent", None)
    model.teardown()
