from __future__ import annotations

from itertools import islice, pairwise

import pytest

from emulator.gateway.actions import Action, parse_action
from emulator.gateway.schedule import CHAOS_VERBS, chaos, parse_schedule, timetable


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("deploy", Action("deploy")),
        ("restart", Action("restart")),
        ("restart tcp-2", Action("restart", 2)),
        ("scale 5", Action("scale", 5)),
        ("kill tcp-1", Action("kill", 1)),
        ("stop tcp-100", Action("stop", 100)),
        ("status", Action("status")),
    ],
)
def test_an_action_is_read_and_written_the_same_way(words: str, action: Action):
    assert parse_action(words.split()) == action
    assert str(action) == words


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "'' is no action: use one of deploy, restart"),
        ("explode", "'explode' is no action"),
        ("deploy now", "'deploy now' is no action: use deploy"),
        ("kill", "'kill' is no action: use kill tcp-N"),
        ("kill 1", "use kill tcp-N"),
        ("kill tcp-0", "use kill tcp-N"),
        ("scale tcp-1", "use scale N"),
        ("scale 101", "N from 1 to 100"),
        ("scale 1 2", "use scale N"),
        ("restart web-1", "use restart"),
    ],
)
def test_a_bad_action_is_told_what_to_say(words: str, complaint: str):
    with pytest.raises(ValueError, match="is no action") as refused:
        parse_action(words.split())
    assert complaint in str(refused.value)


def test_a_script_comes_in_the_order_of_time_and_repeats():
    entries = parse_schedule("every 60 deploy\n\n# a comment\nat 70.5 kill tcp-2  # another\nat 60 scale 2\n")
    assert [(at_s, str(action)) for at_s, action in islice(timetable(entries), 5)] == [
        (60, "deploy"),
        (60, "scale 2"),
        (70.5, "kill tcp-2"),
        (120, "deploy"),
        (180, "deploy"),
    ]


def test_a_script_without_repetition_ends():
    assert [str(action) for _, action in timetable(parse_schedule("at 2 deploy\nat 1 restart"))] == [
        "restart",
        "deploy",
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("at", "is not `at SECONDS ACTION`"),
        ("in 5 deploy", "is not `at SECONDS ACTION`"),
        ("at soon deploy", "'soon' is no number of seconds"),
        ("at -1 deploy", "'-1' is no number of seconds"),
        ("at nan deploy", "'nan' is no number of seconds"),
        ("every 0 deploy", "too short a period"),
        ("at 1 explode", "'explode' is no action"),
        ("at 1", "'' is no action"),
    ],
)
def test_a_bad_line_is_named(line: str, complaint: str):
    with pytest.raises(ValueError, match=r"^line 2: ") as refused:
        parse_schedule(f"at 1 deploy\n{line}\n")
    assert complaint in str(refused.value)


def test_chaos_is_the_same_for_the_same_seed_and_another_for_another():
    first, same, other = (list(islice(chaos(seed, CHAOS_VERBS, 20, 3), 200)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_chaos_can_be_replayed_as_a_script():
    due = list(islice(chaos(5, CHAOS_VERBS, 20, 3), 200))
    script = "\n".join(f"at {at_s:.1f} {action}" for at_s, action in due)
    assert list(timetable(parse_schedule(script))) == due


def test_chaos_keeps_to_its_verbs_and_lets_the_stopped_go_on():
    due = [action for _, action in islice(chaos(3, ("stop", "kill"), 20, 3), 200)]
    assert {action.verb for action in due} == {"stop", "cont", "kill"}
    assert {action.number for action in due} == {1, 2, 3}
    assert all(after == Action("cont", action.number) for action, after in pairwise(due) if action.verb == "stop")
