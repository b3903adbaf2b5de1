"""What binds on a GPU, the card or the host that launches its kernels: a slice of `make gpu`.

    python tests/benchmarks/profile_gpu.py --out profile.json

Of every piece of work it says the seconds of a step on the clock, without a profiler, and the
seconds that the card computes in it, by the profiler of torch; where the second is far below the
first, the host binds. Besides, kernels a step, and those that take most. `--device cpu` counts
operators in place of kernels: it shows that it runs.

    python tests/benchmarks/profile_gpu.py --device cpu --count --out counts.json

counts, wherever it runs, operators and floating-point operations of a step at full size: beside
seconds from a card they say what those can be spent on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from bench import Sizes
from bench_rows import THREAT, random_set, scoring
from bench_things import Operations, facts, samples, seconds, steps_of
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from moc.attacks.gradient import PgdMargin
from moc.data.augment import Augmentation
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.evaluate import together, trained
from moc.evaluate.protocols.fast import Fast
from moc.memory import keep_freed_memory
from moc.networks.stack import fit_stack
from moc.study.measuring_jobs import SideBySide

TOP, TURNS = 8, 3
"""Kernels that are named; turns on the clock."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A piece of work.

    Attributes:
        name: What it is.
        run: Does it once.
        steps: How many steps that is.
    """

    name: str
    run: Callable[[], object]
    steps: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile every piece, and print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes")
    parser.add_argument("--count", action="store_true", help="operators and operations alone")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    look = _counted if options.count else partial(_profiled, device=options.device)
    with (
        _as_on_a_card() if options.count else nullcontext(),
        _pieces(options.device, small=options.small) as pieces,
    ):
        found = [look(piece) for piece in pieces]
    for one in found:
        print({name: value for name, value in one.items() if name != "most"})
    options.out.write_text(json.dumps(found, indent=1) + "\n")


@contextmanager
def _as_on_a_card() -> Iterator[None]:
    """Let a CPU stack networks, as a card does."""
    pays = partial(mock.patch.object, attribute="stacks_pay", return_value=True)
    with pays(together), pays(trained):
        yield


@contextmanager
def _pieces(device: str, *, small: bool) -> Iterator[list[Work]]:
    """What is profiled: a step of condensation, of training, and scoring."""
    wide, narrow, real, steps = ("w4", "w4", 64, 2) if small else ("w128", "w32", 2560, 10)
    batches = samples(
        f"convnet3-{wide}", device, batch=real, augment=Augmentation.dsa(mirrored=True)
    )
    matched = Generalization(FeatureMean())
    loss = Adversarial(RidgeRisk(), attack=PgdMargin(steps=4), threat=THREAT, records=96)
    attacked = samples(f"convnet3-{narrow}", device, batch=64 if small else 256)

    def steps_on(evidence: Any, loss: Any, sets: int) -> Callable[[], object]:
        return lambda: steps_of(evidence, loss, sets, steps)

    found = [Work(name="a DM step", run=steps_on(batches, matched, 1), steps=steps + 1)]
    for sets in (1, 2) if small else (1, 8, 32):
        name = f"ridge risk under attack, {sets} sets"
        found.append(Work(name=name, run=steps_on(attacked, loss, sets), steps=steps + 1))
    found.append(_training(f"convnet3-{narrow}", device, *((2, 2) if small else (16, 20))))
    sets, networks, epochs = (1, 2, 2) if small else (4, 4, 8)
    sizes = Sizes(device=device, sets=sets, networks=networks, epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        context, jobs = scoring(Path(folder), sizes)
        job = SideBySide(key="all", jobs=tuple(jobs))
        name = f"scoring {sizes.sets} sets x {sizes.networks} networks"
        yield [*found, Work(name=name, run=lambda: job.run(context, lambda *_: None), steps=1)]


def _training(network: str, device: str, networks: int, epochs: int) -> Work:
    """Networks that are trained in a stack, on 100 records each."""
    info = facts(100)
    training = Fast(network=network, epochs=epochs).resolve(info, THREAT)
    x, labels = (one.expand(networks, *one.shape) for one in random_set(0))
    return Work(
        name=f"a step of {networks} networks in a stack",
        run=lambda: fit_stack(x, labels, info, training, seeds=range(networks), device=device),
        steps=epochs,
    )


def _profiled(work: Work, device: str) -> dict[str, Any]:
    """Seconds of a step on the clock and on the card, and its kernels."""
    turns = [seconds(work.run, device) for _ in range(1 + TURNS)][1:]
    cuda = device != "cpu"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        seconds(work.run, device)
    rows = [row for row in seen.key_averages() if (row.device_type == DeviceType.CUDA) == cuda]
    times = {
        row.key: (row.self_device_time_total if cuda else row.self_cpu_time_total) for row in rows
    }
    wall = median(turns) / work.steps
    busy = sum(times.values()) / 1e6 / work.steps
    most = sorted(times, key=lambda key: -times[key])[:TOP]
    return {
        "work": work.name,
        "seconds a step": wall,
        "of which the card computes": busy,
        "share": busy / wall,
        "kernels a step": sum(row.count for row in rows) / work.steps,
        "most": {key: times[key] / 1e6 / work.steps for key in most},
    }


def _counted(work: Work) -> dict[str, Any]:
    """Operators a step that compute something, one kernel or more each, and operations in 10^9."""
    with Operations() as found:
        work.run()
    return {
        "work": work.name,
        "operators a step": found.count / work.steps,
        "GFLOP a step": found.floating / 1e9 / work.steps,
    }


if __name__ == "__main__":
    main()
