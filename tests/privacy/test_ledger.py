"""The ledger: nothing is read before it is paid for, nothing is sold twice."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy.private_tools import toy

from moc.data.vault import RealData, unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy import ledger as ledger_module
from moc.privacy.access import ADJACENCY, Access, Budget
from moc.privacy.accountant import Gaussian, exact_epsilon, noise_multiplier
from moc.privacy.ledger import Ledger

RELEASE = Access(
    key="release",
    data="train",
    purpose="sums",
    kind="gaussian",
    ladder=(noise_multiplier(4.0, delta=1e-5) / math.sqrt(0.5), 4.0, 8.0),
    sensitivity=1.0,
)
SCORES = Access(
    key="scores",
    data="held-out",
    purpose="counts",
    kind="gaussian",
    ladder=(noise_multiplier(4.0, delta=1e-5) * math.sqrt(20 / 0.5),),
    sensitivity=1.0,
    count=20,
)


def private(path=None, epsilon=4.0) -> Ledger:
    ledger = Ledger(Budget(epsilon=epsilon), path=path)
    ledger.own("train", toy(seed=0))
    ledger.own("held-out", toy(seed=1))
    ledger.own("declared", toy(seed=2), public=True)
    return ledger


@pytest.fixture
def sealed(monkeypatch):
    """Fails the test if a record is read."""
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))


def test_paying_gives_the_records():
    records = private().read(RELEASE)
    assert records.x.shape == (12, 6)


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(
    ("access", "error", "message"),
    [
        (replace(RELEASE, ladder=(0.9,)), BudgetExceededError, "Nothing was read"),
        (replace(SCORES, count=60), BudgetExceededError, "the budget is 4 "),
        (replace(RELEASE, kind="open"), PrivacyError, "without noise"),
        (replace(RELEASE, kind="public"), PrivacyError, "not declared public"),
        (replace(RELEASE, data="elsewhere"), PrivacyError, "owns no 'elsewhere'"),
        (replace(RELEASE, ladder=()), PrivacyError, "noise multipliers"),
        (replace(RELEASE, ladder=(0.0,)), PrivacyError, "noise multipliers"),
        (replace(RELEASE, ladder=(math.nan,)), PrivacyError, "noise multipliers"),
        (replace(RELEASE, ladder=(math.inf,)), PrivacyError, "noise multipliers"),
        (replace(RELEASE, ladder=(8.0, 2.0)), PrivacyError, "least noise first"),
        (replace(RELEASE, count=0), PrivacyError, "count of at least 1"),
        (replace(RELEASE, count=-3), PrivacyError, "count of at least 1"),
        (replace(RELEASE, sensitivity=0.0), PrivacyError, "positive L2"),
    ],
)
def test_what_is_refused_is_refused_before_a_record_is_read(access, error, message):
    ledger = private()
    with pytest.raises(error, match=message):
        ledger.read(access)
    assert ledger.accesses == ()
    assert ledger.epsilon() == 0.0


def test_the_last_of_several_is_refused(monkeypatch):
    ledger = private()
    ledger.read(RELEASE)
    ledger.read(SCORES)
    before = ledger.epsilon()
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    with pytest.raises(BudgetExceededError):
        ledger.read(replace(RELEASE, key="another", ladder=(100.0,)))
    assert ledger.epsilon() == before <= 4.0


def test_a_release_is_never_drawn_twice():
    ledger = private()
    ledger.read(RELEASE)
    ledger.finish("release")
    with pytest.raises(PrivacyError, match="second release"):
        ledger.read(RELEASE)


def test_an_unfinished_one_can_be_tried_again_and_costs_once(tmp_path):
    ledger = private(tmp_path / "l")
    ledger.read(RELEASE)
    cost = ledger.epsilon()
    ledger.read(RELEASE)
    again = private(tmp_path / "l")
    again.read(RELEASE)
    assert again.epsilon() == ledger.epsilon() == cost
    assert len((tmp_path / "l").read_text().splitlines()) == 1


def test_settings_cannot_change_once_paid_for():
    ledger = private()
    ledger.read(RELEASE)
    for change in (
        {"ladder": (9.0,)},
        {"purpose": "other"},
        {"sensitivity": 0.1},
        {"data": "held-out"},
    ):
        with pytest.raises(PrivacyError, match="cannot change"):
            ledger.read(replace(RELEASE, **change))
        with pytest.raises(PrivacyError, match="cannot change"):
            ledger.confirm(replace(RELEASE, **change))
    ledger.confirm(RELEASE)


@pytest.mark.parametrize("call", ["finish", "use"])
def test_nothing_happens_to_what_was_not_paid_for(call):
    with pytest.raises(PrivacyError, match="never paid for"):
        getattr(private(), call)("release")
    with pytest.raises(PrivacyError, match="never paid for"):
        private().confirm(RELEASE)


def test_uses_are_counted_over_restarts(tmp_path):
    ledger = private(tmp_path / "l")
    ledger.reserve(replace(SCORES, count=2))
    ledger.use("scores")
    again = private(tmp_path / "l")
    assert again.used("scores") == 1
    again.use("scores")
    with pytest.raises(PrivacyError, match=r"All 2 mechanism\(s\) .* have been used"):
        private(tmp_path / "l").use("scores")


def test_public_records_are_free_and_said_to_be_public():
    ledger = private()
    ledger.read(Access(key="p", data="declared", purpose="scores", kind="public"))
    assert ledger.epsilon() == 0.0
    assert "declared public: free" in ledger.describe()[0]


def test_an_open_study_has_no_number():
    ledger = Ledger(None)
    ledger.own("train", toy())
    ledger.read(Access(key="samples", data="train", purpose="batches", kind="open"))
    assert ledger.epsilon() == math.inf
    assert "not private" in ledger.describe()[-1]
    assert not any(ch.isdigit() for ch in ledger.describe()[-1])


def test_a_budget_cannot_make_an_open_study_private_afterwards(tmp_path):
    ledger = Ledger(None, path=tmp_path / "l")
    ledger.own("train", toy())
    ledger.read(Access(key="samples", data="train", purpose="batches", kind="open"))
    later = private(tmp_path / "l")
    assert later.epsilon() == math.inf
    with pytest.raises(BudgetExceededError):
        later.read(RELEASE)


def test_composing_the_events_by_hand_gives_the_total(tmp_path):
    ledger = private(tmp_path / "l")
    ledger.read(RELEASE)
    ledger.read(SCORES)
    events = [json.loads(line) for line in (tmp_path / "l").read_text().splitlines()]
    for rung in range(3):
        parts = [
            Gaussian(
                noise_multiplier=e["ladder"][min(rung, len(e["ladder"]) - 1)], count=e["count"]
            )
            for e in events
        ]
        # 1e-3 is what the accountant adds to its own bound.
        assert ledger.epsilon(rung) == pytest.approx(exact_epsilon(parts, delta=1e-5), abs=2e-3)
    assert ledger.epsilon() <= 4.0


@settings(max_examples=8)
@given(st.lists(st.floats(2.0, 30.0), min_size=1, max_size=3), st.floats(10.0, 30.0))
def test_a_lower_rung_never_costs_more(ladder, noise):
    ledger = private(epsilon=50.0)
    ledger.reserve(replace(RELEASE, ladder=tuple(sorted(ladder))))
    ledger.reserve(replace(SCORES, ladder=(noise,), count=2))
    costs = [ledger.epsilon(rung) for rung in range(-1, len(ladder) + 2)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == costs[1] == ledger.epsilon()
    assert costs[-1] > exact_epsilon([Gaussian(noise_multiplier=noise, count=2)], delta=1e-5)


def test_a_ledger_read_back_says_the_same(tmp_path):
    ledger = private(tmp_path / "l")
    ledger.read(RELEASE)
    ledger.finish("release")
    ledger.read(SCORES)
    again = private(tmp_path / "l")
    assert again.accesses == ledger.accesses
    assert again.describe() == ledger.describe()
    assert [again.epsilon(r) for r in range(3)] == [ledger.epsilon(r) for r in range(3)]
    with pytest.raises(PrivacyError, match="second release"):
        again.read(RELEASE)
    assert f"({ADJACENCY}; unit: one record;" in again.describe()[-1]
    assert "opacus PRV" in again.describe()[-1]


def test_a_torn_line_never_happened(tmp_path):
    path = tmp_path / "l"
    private(path).read(RELEASE)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "finis')
    ledger = private(path)
    assert path.read_bytes() != whole, "reading must not change the file: another may be writing"
    ledger.finish("release")
    assert len(path.read_text().splitlines()) == 2
    assert private(path).is_finished("release")


@pytest.mark.parametrize(
    "line", ["not json", "[]", '{"event": "spent"}', '{"event": "reserved", "key": "k"}', "{}"]
)
def test_a_damaged_ledger_stops_the_study(tmp_path, line):
    path = tmp_path / "l"
    private(path).read(RELEASE)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(PrivacyError, match=r"Line 2 of .* is not an event"):
        private(path)


def test_two_writers_are_noticed(tmp_path):
    one, two = private(tmp_path / "l"), private(tmp_path / "l")
    one.read(RELEASE)
    with pytest.raises(PrivacyError, match="Another process wrote"):
        two.read(RELEASE)


def test_records_have_one_owner():
    ledger = private()
    with pytest.raises(PrivacyError, match="owns 'train' records already"):
        ledger.own("train", toy())
    assert ledger.info("train").count == 12
    assert ledger.is_public("declared")
    with pytest.raises(PrivacyError, match="owns no 'x'"):
        ledger.is_public("x")


@pytest.mark.parametrize("second", ["open", "private", "the same, as public"])
def test_no_second_ledger_and_no_second_name_opens_what_a_first_one_owns(second):
    data = toy()
    first = Ledger(Budget(epsilon=4.0))
    first.own("train", data)
    other = first if second == "the same, as public" else Ledger(None)
    if second == "private":
        other = Ledger(Budget(epsilon=4.0))
    with pytest.raises(PrivacyError, match=r"owns these records|12 records are both"):
        other.own("again", data, public=second == "the same, as public")
    with pytest.raises(PrivacyError, match="owns no 'again'"):
        other.read(Access(key="k", data="again", purpose="all", kind="open"))


@pytest.mark.parametrize("shared", [12, 1])
@pytest.mark.parametrize("public", [True, False])
def test_a_record_is_public_or_private_whatever_object_holds_it(shared, public):
    records, others = unseal(toy()), unseal(toy(seed=1))
    x = torch.cat([records.x[:shared], others.x[shared:]])
    mixed = RealData(info=toy().info, x=x, y=1 - records.y)
    ledger = Ledger(Budget(epsilon=4.0))
    ledger.own("train", toy(), public=not public)
    with pytest.raises(PrivacyError, match=f"{shared} records are both in 'other' and in 'train'"):
        ledger.own("other", mixed, public=public)
    ledger.own("other", toy(seed=1), public=public)


def test_what_a_private_ledger_owns_is_not_divided_for_others():
    data, divisible = toy(), toy()
    Ledger(Budget(epsilon=4.0)).own("train", data)
    for divide in (
        lambda: data.split([5], seed=0),
        lambda: data.thinned(torch.ones(12, dtype=torch.bool), declared=12),
    ):
        with pytest.raises(PrivacyError, match="stay together"):
            divide()
    Ledger(None).own("train", divisible)
    assert len(divisible.split([5], seed=0)[0]) == 5


def test_real_data_cannot_be_copied_and_shows_no_tensor():
    data = toy()
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be copied"):
            copied(data)
    public = [getattr(data, name) for name in dir(data)]
    assert not any(isinstance(value, torch.Tensor) for value in public)
    assert not hasattr(data, "__dict__")
    with pytest.raises(TypeError, match="cannot be copied"):
        pickle.dumps(private())


def test_neighbours_are_defined_in_one_place_and_in_these_words():
    assert ADJACENCY == (
        "one record replaced by nothing (zero-out) at a declared number of records"
    )
    ledger = private()
    ledger.read(RELEASE)
    assert all(ADJACENCY in line for line in ledger.describe())


def test_a_removed_record_leaves_what_is_declared_as_it_was():
    """Zero-out: the places stay, so neighbours agree in everything that is public."""
    data = toy()
    kept = torch.ones(12, dtype=torch.bool)
    kept[3] = False
    neighbour = data.thinned(kept, declared=12)
    assert neighbour.info == data.info
    assert len(neighbour) == len(data) == 12
