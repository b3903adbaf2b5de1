"""The gates: checks that releases and scores must pass, and that every planted defect must fail.

`test_*.py` run them on moc as it is; `test_mutations.py` runs the same functions on moc with a
defect planted. A check raises AssertionError or PrivacyError.
"""

from __future__ import annotations

import contextlib
import random
import time
from unittest import mock

import numpy as np
import torch
from privacy.private_tools import (
    LADDER,
    Brightness,
    Cubes,
    all_right,
    ledger_of,
    moments,
    part,
    real,
    small,
    squared,
    toy,
    worst_case,
)
from safetensors.torch import load_file
from scipy import stats
from tiny import PRIVATE

from moc.audit.gaussian import audit_release
from moc.condense.loop import Task, condense
from moc.condense.settings import CondenseSettings
from moc.data.sources.npz import load_npz
from moc.data.vault import Records, unseal
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.errors import PrivacyError
from moc.evidence.moments import Moments
from moc.privacy import noise as noise_module
from moc.privacy import release as release_module
from moc.privacy.collect import CLIP, Collection
from moc.privacy.held_out import Counts, HeldOut
from moc.privacy.isolation import probes, require_isolated
from moc.privacy.ladder import PrivacySettings
from moc.privacy.release import draw
from moc.privacy.sums import GRID, Sums
from moc.statistics.class_means import ClassMeans
from moc.study.config import parse_config
from moc.study.context import ledger_of as study_ledger_of

NOTHING = Sums(blocks={"class-means": torch.zeros(1, 1, 100_000, dtype=torch.int64)})
"""The sums of no records, wide enough for a test of the noise."""

UNKNOWN = (Brightness(weight=0.3, gain=1e4), Cubes(weight=0.7))
"""Statistics that nothing in moc knows, of terms that nothing bounds."""


def check_one_record_moves_at_most_c(
    collection: Collection, records: Records, one: Records, *, place=0
) -> None:
    """Adding `one` at `place` moves the sums by at most C, exactly, and only by itself."""
    x = torch.cat([records.x[:place], one.x, records.x[place:]])
    y = torch.cat([records.y[:place], one.y, records.y[place:]])
    moved = collection.sums(Records(x=x, y=y)) - collection.sums(records)
    assert squared(moved) <= GRID**2, f"moved by {squared(moved) ** 0.5 / GRID} C"
    assert torch.equal(moved.flat(), collection.sums(one).flat()), "a record moved what others add"


def check_worst_case_records_are_clipped() -> None:
    """No record of any size moves the sums by more than C; a broken one not at all."""
    records = Records(x=torch.rand(5, 3, generator=torch.Generator().manual_seed(0)), y=_y(5))
    lists = [moments(second=s, counts=c) for s, c in ((0.0, 0.0), (0.4, 0.0), (0.4, 0.3))]
    for size in (1e-8, 1.0, 1e4, 1e30):
        for statistics in (*lists, UNKNOWN):
            collection = worst_case(size=size, width=2, statistics=statistics)
            for x in ([0.0, 0.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.0, 0.0]):
                one = Records(x=torch.tensor([x]), y=_y(1))
                check_one_record_moves_at_most_c(collection, records, one)
                if x[0] == 1.0:
                    assert squared(collection.sums(one)) == 0, "a broken record contributed"


def check_sums_are_sums() -> None:
    """Sums of parts add up to the sum of the whole: nothing is divided by a private number."""
    records = probes(toy().info, 12)
    collection = small(toy().info)
    parts = [collection.sums(part(records, slice(i, i + 4))) for i in (0, 4, 8)]
    assert torch.equal(collection.sums(records).flat(), (parts[0] + parts[1] + parts[2]).flat())


def check_records_are_kept_apart(digits) -> None:
    """Networks and statistics treat every record by itself; see `require_isolated`."""
    require_isolated(
        real(digits.info, networks=1, statistics=moments(second=0.5, counts=0.1), width=8)
    )


def check_audit() -> None:
    """The audit finds no more than is claimed."""
    found = audit_release(small(toy().info), LADDER)
    failed = [finding.describe() for finding in found if not finding.passed]
    assert not failed, "\n".join(failed)


def check_standard_normal(values: torch.Tensor) -> None:
    """Values (n,) are N(0, 1) by Kolmogorov and Smirnov; at n = 1e5 this sees 10 % of scale."""
    found = stats.kstest(values.numpy(), "norm")
    assert found.pvalue > 1e-12, f"not a standard normal: {found.statistic:.4f}"


def check_noise_of_every_rung(tier="standard", sums=NOTHING, ladder=LADDER) -> None:
    """Rungs have the noise they claim; increments have theirs, independent of the rung above."""
    found = release_module.noised(sums, ladder, tier)
    rungs = [torch.cat([block.flatten() for block in rung.values()]) for rung in found]
    exact, multipliers = sums.flat(), ladder.multipliers
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
            torch.default_generator.manual_seed(7)
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
    sums = small(toy().info, moments(second=0.4, counts=0.1)).sums(records)
    one, two = (release_module.noised(sums, LADDER, "standard") for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert a.keys() == sums.blocks.keys()
        for name, tensor in a.items():
            assert tensor.shape == sums.blocks[name].shape, f"{name} holds more than sums"
            assert (tensor != b[name]).all(), f"a coordinate of {name} has no noise"


def check_scores_hide_the_count() -> None:
    """Published rates use the declared number of records, whatever number there is."""
    data = toy(12)
    ledger = ledger_of(data)
    read = ledger.read
    with mock.patch.object(ledger, "read", lambda access: part(read(access), slice(0, 11))):
        held_out = HeldOut(ledger, "train", planned=1, noise_multiplier=50.0)
    rates = held_out.publish(held_out.count(all_right, bound=1.0))
    assert rates.records == len(held_out) == 12
    assert rates.noise == 50.0 / 12


def check_reads_agree(folder) -> None:
    """Whoever reads a rung, now or in a later run, reads the same bytes."""
    collection = small(toy().info)
    first = draw(ledger_of(toy(), path=folder / "l"), collection, LADDER, folder=folder / "r")
    files = {path: path.read_bytes() for path in (folder / "r").iterdir()}
    again = draw(ledger_of(toy(), path=folder / "l"), collection, LADDER, folder=folder / "r")
    for a, b in zip(first, again, strict=True):
        assert a.blocks.keys() == b.blocks.keys()
        for name, block in a.blocks.items():
            assert torch.equal(block, b.blocks[name]), "a rung was read with other noise"
    assert files == {path: path.read_bytes() for path in (folder / "r").iterdir()}


def check_start_is_public(folder) -> None:
    """Condensation of a release starts from the same images whatever T was."""
    settings = CondenseSettings(images_per_class=2, labels="hard")
    starts = []
    for seed in (1, 2):
        data = toy(seed=seed)
        collection = small(data.info)
        drawn = draw(ledger_of(data), collection, LADDER, folder=folder / f"start-{seed}")
        made = condense(
            [Task(weights=(1.0,), seed=3)],
            evidence=Moments([(collection, drawn)]),
            losses=(Generalization(FeatureMean()),),
            settings=settings.model_copy(update={"steps": 0}),
        )
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
        infos.append(load_npz(path).info)
    assert infos[0] == infos[1], "a constant was computed from records"


def check_scores_are_limited(folder) -> None:
    """Not one score more than was paid for, however often the study is started again."""
    published = 0
    for _ in range(4):
        ledger = ledger_of(toy(), path=folder / "scores.jsonl")
        held_out = HeldOut(ledger, "train", planned=3, noise_multiplier=50.0)
        with contextlib.suppress(PrivacyError):
            for _ in range(2):
                held_out.publish(held_out.count(all_right, bound=1.0))
                published += 1
    assert published == 3, f"{published} scores published, 3 paid for"


def check_scores_are_bounded() -> None:
    """One record moves counts by the declared bound at most, and noise is in proportion to it."""
    held_out = HeldOut(ledger_of(toy()), "train", planned=1, noise_multiplier=50.0)

    def outcome(x, y, *, without=False):
        values = torch.ones(len(y), 3, 2)
        values[0] *= not without
        return values

    for bound in (0.1, 1.0, 6**0.5, 10.0):
        counts = held_out.count(outcome, bound=bound)
        less = held_out.count(lambda x, y: outcome(x, y, without=True), bound=bound)
        moved = float((counts._sums - less._sums).norm())
        assert moved <= bound * (1 + 1e-12), f"moved by {moved}, {bound} declared"
    rates = held_out.publish(held_out.count(outcome, bound=0.1))
    assert abs(rates.noise * 12 - 5.0) < 1e-9, "noise is not that of the bound"


def check_noise_is_what_the_ledger_charges(folder) -> None:
    """Stored rungs less the exact sums have the noise in the ledger's list, whatever is beside."""
    shape, planned = (20_000,), 5
    collection = small(toy(shape=shape).info, (Brightness(weight=0.5), ClassMeans()))
    exact = collection.sums(unseal(toy(shape=shape))).flat()
    for scoring in (0.0, 0.6):
        privacy = PrivacySettings(epsilons=LADDER.epsilons, scoring=scoring)
        ledger = ledger_of(toy(shape=shape))
        if scoring:
            noise = privacy.score_noise(planned)
            HeldOut(ledger, "train", planned=planned, noise_multiplier=noise)
        for place, share in enumerate((0.3, 0.7)):
            key, where = f"release/{place}", folder / f"{scoring}-{place}"
            draw(ledger, collection, privacy.ladder.part(share), folder=where, key=key)
            (access,) = (one for one in ledger.accesses if one.key == key)
            for rung, sigma in enumerate(access.ladder):
                stored = load_file(where / f"rung-{rung}.safetensors")
                values = torch.cat([stored[name].flatten() for name in collection.weights])
                check_standard_normal((values - exact) / (GRID * access.sensitivity * sigma))
        assert 7.9 < ledger.epsilon() <= 8.0


def check_noise_is_independent() -> None:
    """Between the tensors of a release, between runs of it, and between paid scores."""
    size = 30_000
    blocks = {name: torch.zeros(1, 1, size, dtype=torch.int64) for name in ("first", "second")}
    found = [
        block.flatten()
        for _ in range(2)
        for block in release_module.noised(Sums(blocks=blocks), LADDER, "standard")[0].values()
    ]
    held_out = HeldOut(ledger_of(toy()), "train", planned=3, noise_multiplier=50.0)
    nothing = Counts(_sums=torch.zeros(1, size, dtype=torch.float64), bound=1.0)
    found += [held_out.publish(nothing).values.flatten() for _ in range(3)]
    r = np.abs(np.corrcoef(torch.stack(found)) - np.eye(len(found)))
    assert r.max() < 6.5 / size**0.5, f"noises go together: {r.max():.3f}"


def check_tails(draws=100_000_000, furthest=5.0, tier="standard") -> None:
    """As many values beyond 3, 3.5, ... sigma as a normal law has, neither more nor fewer."""
    limits = np.arange(3.0, furthest + 0.1, 0.5)
    beyond, chunk = np.zeros(len(limits)), min(draws, 200_000)
    for _ in range(draws // chunk):
        values = noise_module.gaussian(chunk, std=1e6, tier=tier).abs()
        large = values[values > 1e6 * limits[0]]
        beyond += [int((large > 1e6 * limit).sum()) for limit in limits]
    for limit, count in zip(limits, beyond, strict=True):
        law = stats.poisson(2 * stats.norm.sf(limit) * (draws // chunk) * chunk)
        chance = min(law.cdf(count), law.sf(count - 1))
        assert chance > 1e-7, f"{count} values beyond {limit} sigma, {law.mean():.0f} expected"


def check_noise_keys_are_long(draws=300_000) -> None:
    """So many draws never agree; with keys of 32 bits about ten pairs would."""
    found: set[bytes] = set()
    for drawn in range(1, draws + 1):
        found.add(noise_module.gaussian(2, std=1.0, tier="standard").numpy().tobytes())
        assert len(found) == drawn, "a key of the noise came twice"


def check_parts_are_disjoint() -> None:
    """No record of T is among those declared public: neither study nor ledger takes such parts."""
    for duplicates in ("refuse", "keep"):
        data = {**PRIVATE["data"], "duplicates": duplicates}
        study_ledger_of(parse_config({**PRIVATE, "data": data}, where="gate"), None)


def _y(n: int) -> torch.Tensor:
    return torch.arange(n) % 2
