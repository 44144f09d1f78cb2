from __future__ import annotations

from emulator.fleet.absence import Absence


def test_an_absence_is_told_apart_from_the_pauses_in_it():
    absence = Absence()
    absence.begin(100)
    absence.pause(0.5)
    absence.pause(1)
    assert absence.end(102) == (2, 0.5)


def test_a_pause_before_the_connection_ended_does_not_count():
    absence = Absence()
    absence.pause(5)
    absence.begin(100)
    assert absence.end(101) == (1, 1)
