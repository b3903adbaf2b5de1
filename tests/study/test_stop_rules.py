"""When a search ends before its trials do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moc.study.stop_rules import StopSettings

rising = st.lists(st.floats(0, 1), max_size=30).map(sorted)
hours = st.floats(0, 100)
limits = st.none() | st.floats(0.01, 100)


@given(hours, hours, rising)
def test_without_rules_nothing_ends(clock, jobs, volumes):
    assert StopSettings().reason(hours=clock, job_hours=jobs, volumes=volumes) == ""


@given(limits, limits, hours, hours, st.floats(0, 50))
def test_time_ends_a_search_once_and_for_all(wall, work, clock, jobs, more):
    rules = StopSettings(hours=wall, job_hours=work)
    over = (wall is not None and clock >= wall) or (work is not None and jobs >= work)
    assert bool(rules.reason(hours=clock, job_hours=jobs, volumes=())) == over
    if over:
        assert rules.reason(hours=clock + more, job_hours=jobs + more, volumes=())


@given(st.floats(0.001, 0.5), st.integers(1, 10), rising)
def test_a_gain_is_asked_of_the_last_trials_alone(gain, over, volumes):
    ended = StopSettings(gain=gain, over=over).reason(hours=0, job_hours=0, volumes=volumes)
    if len(volumes) <= over or not volumes[-1]:
        assert not ended
        return
    assert bool(ended) == (volumes[-1] - volumes[-1 - over] < gain * volumes[-1])
    with_more = StopSettings(gain=min(2 * gain, 0.99), over=over)
    assert not ended or with_more.reason(hours=0, job_hours=0, volumes=volumes)


@pytest.mark.parametrize("wrong", [{"hours": 0}, {"gain": 0}, {"gain": 1}, {"over": 0}])
def test_rules_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="Input should be"):
        StopSettings(**wrong)
