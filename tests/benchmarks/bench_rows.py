"""The rows of `make bench`; see `bench.py`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from bench_things import (
    Operations,
    class_means,
    facts,
    matrix_rate,
    pass_records,
    random_records,
    released,
    samples,
    seconds,
    steps_of,
    wall,
)
from bench_vico import vico_step

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Start, condense_curves
from moc.data import DataInfo
from moc.data.augment import Augmentation
from moc.data.storage import save_set
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness
from moc.evaluate.suites import CustomSuite, FastSuite
from moc.evaluate.together import Together
from moc.evidence.moments import Moments
from moc.networks.stack import fit_stack
from moc.networks.train import fit
from moc.objectives.error import Right
from moc.objectives.robust_error import RightUnderAttack
from moc.privacy.held_out import HeldOut
from moc.privacy.ledger import Ledger
from moc.study.executors import Executor
from moc.study.executors.local import Inline, Local
from moc.study.jobs import WorkerContext
from moc.study.measuring_jobs import Score, SideBySide
from moc.study.work import Job

if TYPE_CHECKING:
    from bench import Sizes

THREAT = Threat(eps=0.1)
GROWTH = 8  # by how much N grows where a row asks what N costs


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured, turn by turn.

    Attributes:
        name: What, with its sizes.
        unit: Of all values.
        ours: What moc took, (repeats,).
        against: What that is compared with, if anything.
        others: What it took in the same turns, (repeats,).
        aim: For the ratio of the two, or for the value.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    against: str = ""
    others: tuple[float, ...] = ()
    aim: str = ""


def dm_step(sizes: Sizes) -> Iterator[Row]:
    """One step of distribution matching under a fresh network, with Siamese augmentation."""
    network = f"convnet3-w{sizes.width}"
    augmentation = Augmentation.dsa(mirrored=True)
    evidence = samples(network, sizes.device, batch=sizes.real, augment=augmentation)
    peer = None
    if sizes.vico is not None:
        peer = vico_step(sizes.vico, sizes.width, sizes.real // 10, sizes.device)
    ours, others = steps_of(evidence, Generalization(FeatureMean()), 1, sizes.repeats, peer=peer)
    yield Row(
        name=f"one DM step, {network}, {sizes.real} real + 100 synthetic, DSA",
        unit="s",
        ours=ours,
        against="VICO, main_DM.py" if others else "",
        others=others,
        aim="3 on a CPU, 8 on an H100",
    )


def attacked_step(sizes: Sizes) -> Iterator[Row]:
    """Ridge risk under attack for several sets together, against as many sets apart."""
    network = f"convnet3-w{sizes.attacked_width}"
    evidence = samples(network, sizes.device, batch=256)
    attack = PgdMargin(steps=4)
    loss = Adversarial(RidgeRisk(), attack=attack, threat=THREAT, records=96)
    measured: dict[int, list[float]] = {count: [] for count in (1, *sizes.together)}
    for _ in range(sizes.repeats):
        for count, found in measured.items():
            found.extend(steps_of(evidence, loss, count, 1)[0])
    for count in sizes.together:
        yield Row(
            name=f"ridge risk under attack, {network}, batch 256, 96 attacked, {count} sets",
            unit="s",
            ours=tuple(measured[count]),
            against=f"{count} times one set",
            others=tuple(count * one for one in measured[1]),
            aim={32: "4 on a CPU, 20 on an H100"}.get(count, ""),
        )


def scoring(folder: Path, sizes: Sizes) -> tuple[WorkerContext, list[Score]]:
    """Jobs that score sets on 200 records, and what they need."""
    ledger, info = Ledger(None), facts(200)
    ledger.own("validation", random_records(info))
    training = Fast(network="convnet3-w32", epochs=sizes.epochs).resolve(info, THREAT)
    robust = RightUnderAttack(training=training, suite=FastSuite(), threat=THREAT)
    context = WorkerContext(
        evidence=samples("convnet3-w32", sizes.device, batch=1),
        recipes=(),
        training=training,
        threat=THREAT,
        measures={"validation": {"error": Right(training=training), "robust_error": robust}},
        held_out={"validation": HeldOut(ledger, "validation")},
        device=sizes.device,
    )
    return context, [_score(folder, number, info, sizes) for number in range(sizes.sets)]


def evaluation(sizes: Sizes) -> Iterator[Row]:
    """Scoring sets: as a study does it on this device, and one network after the other."""
    with tempfile.TemporaryDirectory() as folder:
        context, jobs = scoring(Path(folder), sizes)
        each = [replace(job, key=f"{job.key}, {k}", seeds=(k,)) for job in jobs for k in job.seeds]
        own = jobs if sizes.device == "cpu" else [SideBySide(key="all", jobs=tuple(jobs))]
        together, alone = Local().start(context), Inline(context)
        run_all(together, own)  # processes start, and import what they need
        turns = [(run_all(together, own), run_all(alone, each)) for _ in range(sizes.repeats)]
        together.close()
    yield Row(
        name=f"scoring {sizes.sets} sets x {sizes.networks} networks, 200 records, fast suite",
        unit="s (wall)",
        ours=tuple(own for own, _ in turns),
        against="network by network",
        others=tuple(other for _, other in turns),
        aim="1.8 on two cores, 10 on a GPU",
    )


def stack(sizes: Sizes) -> Iterator[Row]:
    """Networks trained and attacked as one stack, which a GPU does, and in turn, as a CPU does."""
    info, seeds = facts(200), range(sizes.networks * sizes.sets)
    training = Fast(network="convnet3-w32", epochs=sizes.epochs).resolve(info, THREAT)
    x, labels = random_set(0)
    records = torch.rand(200, *info.shape, generator=torch.Generator().manual_seed(0))
    records, y = records.to(sizes.device), (torch.arange(200) % 10).to(sizes.device)
    suite = CustomSuite(attacks=FastSuite().attacks[:-1])  # all but Square, which has no stack

    def together() -> None:
        every = [one.expand(len(seeds), *one.shape) for one in (x, labels)]
        networks = fit_stack(*every, info, training, seeds=seeds, device=sizes.device)
        Together(networks=networks, suite=suite, threat=THREAT, seeds=seeds).correct(records, y)

    def in_turn() -> None:
        for seed in seeds:
            network = fit(x, labels, info, training, seed=seed, device=sizes.device)
            attacked = Robustness(model=network, suite=suite, threat=THREAT, classes=10, seed=seed)
            attacked.correct(records, y)

    turns = [
        (seconds(together, sizes.device), seconds(in_turn, sizes.device))
        for _ in range(sizes.repeats)
    ]
    yield Row(
        name=f"{len(seeds)} networks trained and attacked as one stack",
        unit="s",
        ours=tuple(own for own, _ in turns),
        against="in turn",
        others=tuple(other for _, other in turns),
        aim="10 on a GPU; a CPU goes on in turn",
    )


def run_all(executor: Executor, jobs: Sequence[Job[Any]]) -> float:
    """Seconds until all jobs are done."""
    for job in jobs:
        executor.submit(job)
    return wall(lambda: list(executor.results(lambda *_: None)))


def help_text(sizes: Sizes) -> Iterator[Row]:
    """The first thing that anybody types."""
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['moc', '--help']; from moc.cli import main; main()",
    ]
    run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
    run()
    ours = tuple(wall(run) for _ in range(max(sizes.repeats, 5)))
    yield Row(name="moc --help", unit="s (wall)", ours=ours, aim="under 0.3 s")


def memory_of_the_pass(sizes: Sizes) -> Iterator[Row]:
    """How much the peak grows during a pass over T, in fresh processes."""
    many = GROWTH * sizes.records
    yield Row(
        name=f"growth of the peak after the first batch of a pass over {many} records",
        unit="MiB",
        ours=tuple(growth(many) for _ in range(sizes.repeats)),
        aim="0 (flat)",
    )


def moments(sizes: Sizes) -> Iterator[Row]:
    """Moments of all of Fashion-MNIST, reckoned from fewer records under fewer networks."""
    info = facts(sizes.records)
    collection = class_means(info, f"convnet3-w{sizes.width}", device=sizes.device)
    records, networks = pass_records(info), collection.networks
    with Operations() as once:
        collection.sums(records)
    whole = 60_000 * 200 / (info.count * networks)
    rate = matrix_rate(sizes.device, size=1024 if sizes.device == "cpu" else 8192)
    took = [seconds(partial(collection.sums, records), sizes.device) for _ in range(sizes.repeats)]
    yield Row(
        name=f"moments of 60,000 records under 200 convnet3-w{sizes.width}, reckoned from "
        f"{info.count} under {networks}",
        unit="s",
        ours=tuple(whole * one for one in took),
        against="its operations at the rate of a matrix product",
        others=tuple(whole * once.floating / rate for _ in took),
        aim="60 s and 0.3 on an H100",
    )


def front_cost(sizes: Sizes) -> Iterator[Row]:
    """Two curves from a stored release of so many records, and of several times as many."""
    few, many = sizes.records, GROWTH * sizes.records
    with tempfile.TemporaryDirectory() as folder:
        evidence = [released(count, Path(folder) / str(count)) for count in (many, few)]
        condense_front(evidence[0])
        turns = [
            [seconds(partial(condense_front, one), "cpu") for one in evidence]
            for _ in range(sizes.repeats)
        ]
    yield Row(
        name=f"two curves from the stored release of {many} records",
        unit="s",
        ours=tuple(own for own, _ in turns),
        against=f"of {few} records",
        others=tuple(other for _, other in turns),
        aim="1 (unchanged)",
    )


def condense_front(evidence: Moments) -> None:
    """A short condensation of both rungs."""
    losses = {"mean": Generalization(FeatureMean()), "ridge": Generalization(RidgeRisk())}
    starts = [Start(rung=0), Start(rung=1)]
    settings = CondenseSettings(images_per_class=2, steps=10)
    condense_curves(starts, evidence=evidence, losses=losses, settings=settings)


ROWS: dict[str, Callable[[Sizes], Iterator[Row]]] = {
    "help": help_text,
    "memory": memory_of_the_pass,
    "moments": moments,
    "front": front_cost,
    "dm-step": dm_step,
    "attacked-step": attacked_step,
    "stack": stack,
    "evaluation": evaluation,
}


def growth(records: int) -> float:
    """By how many MiB the peak grows in a pass over so many records, once there was a batch."""
    command = [sys.executable, str(Path(__file__).with_name("bench.py")), "pass", str(records)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def random_set(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten random images of each class, and their labels."""
    info, y = facts(100), balanced_labels(10, 10)
    x = torch.rand(len(y), *info.shape, generator=torch.Generator().manual_seed(number))
    return x, one_hot(y, 10)


def _score(folder: Path, number: int, info: DataInfo, sizes: Sizes) -> Score:
    x, labels = random_set(number)
    path = folder / f"{number}.safetensors"
    save_set(SyntheticSet(info=info, x=x, labels=labels), path)
    name = f"set {number}"
    seeds = tuple(range(sizes.networks))
    return Score(key=name, name=name, path=path, records="validation", seeds=seeds)
