"""The gates: checks that the evidence layer must pass, and that every planted defect must fail.

`test_*.py` run them on moc as it is; `test_mutations.py` runs the same functions on moc with a
defect planted. A check raises AssertionError or PrivacyError.
"""

from __future__ import annotations

import contextlib
import random
import time
from functools import partial
from unittest import mock

import numpy as np
import torch
from evidence_tools import (
    LADDER,
    HeadAttack,
    all_right,
    ledger_of,
    part,
    small,
    squared,
    tame,
    toy,
    wild,
)
from scipy import stats

from moc.attacks import Attack
from moc.condense.loop import CondenseSettings, Task, condense
from moc.data import arrays
from moc.data._vault import Records
from moc.discrepancies import FeatureMean, Generalization
from moc.errors import PrivacyError
from moc.evidence import HeldOut, Moments, Statistics, audit_release, draw
from moc.evidence import noise as noise_module
from moc.evidence import release as release_module
from moc.evidence.isolation import probes, require_isolated
from moc.evidence.statistics import CLIP, GRID
from moc.evidence.sums import Sums

NOTHING = Sums(first=torch.zeros(1, 1, 100_000, dtype=torch.int64), second=torch.zeros(1, 0).long())
"""The sums of no records, wide enough for a test of the noise."""


def check_one_record_moves_at_most_c(
    statistics: Statistics, records: Records, one: Records, *, place=0, attack=None
) -> None:
    """Adding `one` at `place` moves the sums by at most C, exactly, and only by itself."""
    sums = partial(statistics.sums, attack=attack)
    x = torch.cat([records.x[:place], one.x, records.x[place:]])
    y = torch.cat([records.y[:place], one.y, records.y[place:]])
    moved = sums(Records(x=x, y=y)) - sums(records)
    assert squared(moved) <= GRID**2, f"moved by {squared(moved) ** 0.5 / GRID} C"
    assert torch.equal(moved.flat(), sums(one).flat()), "a record moved what others add"


def check_hostile_records_are_clipped() -> None:
    """No record of any loudness moves the sums by more than C; a broken one not at all."""
    records = Records(x=torch.rand(5, 3, generator=torch.Generator().manual_seed(0)), y=_y(5))
    for loud in (1e-8, 1.0, 1e4, 1e30):
        for second, counts in ((0.0, 0.0), (0.4, 0.0), (0.4, 0.3)):
            statistics = wild(loud=loud, second=second, counts=counts, width=2)
            for x in ([0.0, 0.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.0, 0.0]):
                one = Records(x=torch.tensor([x]), y=_y(1))
                check_one_record_moves_at_most_c(statistics, records, one)
                if x[0] == 1.0:
                    assert squared(statistics.sums(one)) == 0, "a broken record contributed"


def check_sums_are_sums() -> None:
    """Sums of parts add up to the sum of the whole: nothing is divided by a private number."""
    records = probes(toy().info, 12)
    statistics = small(toy().info)
    parts = [statistics.sums(part(records, slice(i, i + 4))) for i in (0, 4, 8)]
    assert torch.equal(statistics.sums(records).flat(), (parts[0] + parts[1] + parts[2]).flat())


def check_records_are_kept_apart(digits) -> None:
    """Networks and allowed attacks treat every record by itself; see `require_isolated`."""
    statistics = tame(digits.info, networks=1, second=0.5, width=8)
    require_isolated(statistics)
    require_isolated(statistics, HeadAttack(Attack(name="pgd-margin", steps=2), digits.info))


def check_audit() -> None:
    """The audit finds no more than is claimed."""
    failed = [report.words() for report in audit_release(LADDER) if not report.passed]
    assert not failed, "\n".join(failed)


def check_standard_normal(values: torch.Tensor) -> None:
    """Values (n,) are N(0, 1) by Kolmogorov and Smirnov; at n = 1e5 this sees 10 % of scale."""
    found = stats.kstest(values.numpy(), "norm")
    assert found.pvalue > 1e-12, f"not a standard normal: {found.statistic:.4f}"


def check_noise_of_every_rung(tier="standard", sums=NOTHING, ladder=LADDER) -> None:
    """Rungs have the noise they claim; increments have theirs, independent of the rung above."""
    rungs = [rung["first"].flatten() for rung in release_module.noised(sums, ladder, tier)]
    exact = sums.first.flatten()
    multipliers = ladder.multipliers()
    above, sigma = exact, 0.0
    for rung, multiplier in zip(rungs, multipliers, strict=True):
        check_standard_normal((rung - exact) / (GRID * CLIP * multiplier))
        increment = rung - above
        check_standard_normal(increment / (GRID * CLIP * (multiplier**2 - sigma**2) ** 0.5))
        if sigma:
            r = np.corrcoef(above - exact, increment)[0, 1]
            assert abs(r) < 6 / len(rung) ** 0.5, f"increments follow the rung above: {r:.3f}"
        above, sigma = rung, multiplier


def check_noise_is_fresh(tier="standard", draws=2000) -> None:
    """Noise owes nothing to clocks or seeds, never comes twice, and leaves generators alone."""
    found = []
    now = time.time()
    clocks = dict.fromkeys(("time", "perf_counter", "monotonic"), now)
    clocks |= {f"{name}_ns": int(now * 1e9) for name in clocks}
    with mock.patch.multiple(time, **{k: mock.Mock(return_value=v) for k, v in clocks.items()}):
        for _ in range(draws):
            np.random.seed(7)
            random.seed(7)
            torch.manual_seed(7)
            found.append(tuple(noise_module.gaussian(3, std=1e6, tier=tier).tolist()))
    assert len(set(found)) == draws, f"noise came twice in {draws} draws"
    assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(7))
    values = torch.tensor(found, dtype=torch.float64)
    assert len(values.flatten().unique()) > values.numel() * 0.99, "numbers came twice"
    r = np.corrcoef(torch.cat([values[:-1], values[1:]], dim=1).T) - np.eye(6)
    assert np.abs(r).max() < 6.5 / draws**0.5, "coordinates or draws go together"


def check_every_coordinate_is_noisy() -> None:
    """A release has the shape of its sums, and two of the same sums agree in no coordinate."""
    records = probes(toy().info, 12)
    sums = small(toy().info).sums(records)
    one, two = (release_module.noised(sums, LADDER, "standard") for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert a.keys() == {"first", "second", "counts"}
        for name, tensor in a.items():
            assert tensor.shape == getattr(sums, name).shape, f"{name} holds more than sums"
            assert (tensor != b[name]).all(), f"a coordinate of {name} has no noise"


def check_scores_hide_the_count() -> None:
    """Published rates use the declared number of records, whatever number there is."""
    data = toy(12)
    ledger = ledger_of(data)
    read = ledger.read
    with mock.patch.object(ledger, "read", lambda access: part(read(access), slice(0, 11))):
        held_out = HeldOut(ledger, "train", planned=1, noise_multiplier=50.0)
    rates = held_out.publish(held_out.count(all_right))
    assert rates.records == len(held_out) == 12
    assert rates.noise == 50.0 / 12


def check_reads_agree(folder) -> None:
    """Whoever reads a rung, now or in a later run, reads the same bytes."""
    data = toy()
    statistics = small(data.info)
    first = draw(ledger_of(data, path=folder / "l"), statistics, LADDER, folder=folder / "r")
    files = {path: path.read_bytes() for path in (folder / "r").iterdir()}
    again = draw(ledger_of(data, path=folder / "l"), statistics, LADDER, folder=folder / "r")
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.first, b.first), "a rung was read with other noise"
        assert torch.equal(a.second, b.second), "a rung was read with other noise"
    assert files == {path: path.read_bytes() for path in (folder / "r").iterdir()}


def check_start_is_public(folder) -> None:
    """Condensation of a release starts from the same images whatever T was."""
    starts = []
    for seed in (1, 2):
        data = toy(seed=seed)
        ledger, place = ledger_of(data), folder / f"start-{seed}"
        moments = Moments(small(data.info), draw(ledger, small(data.info), LADDER, folder=place))
        settings = CondenseSettings(per_class=2, steps=0, labels="hard")
        task = Task(robust_share=0.0, rung=0, seed=3)
        objectives = (Generalization(FeatureMean()),)
        made = condense([task], evidence=moments, objectives=objectives, settings=settings)
        starts.append(made[0].synthetic.x)
    assert torch.equal(*starts), "the start of condensation depends on T"


def check_constants_are_public(folder) -> None:
    """What is declared public is the same whatever the values of the records are."""
    infos = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        path = folder / str(seed) / "data.npz"
        path.parent.mkdir()
        np.savez(path, x=rng.random((6, 8, 8)) / seed, y=np.arange(6) % 2)
        infos.append(arrays.load_npz(path).info)
    assert infos[0] == infos[1], "a constant was computed from records"


def check_scores_are_limited(folder) -> None:
    """Not one score more than was paid for, however often the study is started again."""
    published = 0
    for _ in range(4):
        ledger = ledger_of(toy(), path=folder / "scores.jsonl")
        held_out = HeldOut(ledger, "train", planned=3, noise_multiplier=50.0)
        with contextlib.suppress(PrivacyError):
            for _ in range(2):
                held_out.publish(held_out.count(all_right))
                published += 1
    assert published == 3, f"{published} scores published, 3 paid for"


def _y(n: int) -> torch.Tensor:
    return torch.arange(n) % 2
