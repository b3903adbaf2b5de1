"""What the rows of `make bench` are made of: random records, clocks, steps of condensation."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry
from typing_extensions import override

from moc.condense import CondenseSettings, Task, condense
from moc.data import DataInfo, RealData
from moc.data.augment import Augmentation
from moc.data.vault import Records
from moc.discrepancies.base import Loss
from moc.evidence.base import Evidence
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans
from moc.statistics.second_moments import SecondMoments


def facts(count: int) -> DataInfo:
    """Facts of data that look like Fashion-MNIST."""
    classes = tuple(str(k) for k in range(10))
    return DataInfo(name="random", shape=(1, 28, 28), classes=classes, count=count, mirrored=True)


def random_records(info: DataInfo) -> RealData:
    records = pass_records(info)
    return RealData(info=info, x=records.x, y=records.y)


def pass_records(info: DataInfo) -> Records:
    """Random records as a pass over T is given them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (info.count, *info.shape), dtype=torch.uint8, generator=generator)
    return Records(x=x, y=torch.arange(info.count) % len(info.classes))


def class_means(info: DataInfo, network: str, *, device: str = "cpu") -> Collection:
    """What a pass sums: class means under two networks."""
    bank = Bank(info=info, networks=(parse_network(network),), seed=0, device=device)
    return Collection(bank=bank, networks=2, statistics=(ClassMeans(),))


def samples(
    network: str, device: str, *, batch: int, augment: Augmentation | None = None
) -> Samples:
    """Batches of random images under fresh networks."""
    ledger, info = Ledger(None), facts(5000)
    ledger.own("train", random_records(info))
    networks = (parse_network(network),)
    bank = Bank(info=info, networks=networks, seed=0, augmentation=augment, device=device)
    return Samples(ledger, bank=bank, batch=batch)


def released(count: int, folder: Path) -> Moments:
    """A release of so many records, drawn and stored."""
    ledger, info = Ledger(Budget(epsilon=8.0)), facts(count)
    ledger.own("train", random_records(info))
    networks = (parse_network("convnet2-w32-half"),)
    bank = Bank(info=info, networks=networks, seed=0, width=64)
    statistics = (ClassMeans(weight=0.5), SecondMoments())
    collection = Collection(bank=bank, networks=2, statistics=statistics)
    released = draw(ledger, collection, Ladder(epsilons=(8.0, 1.0)), folder=folder)
    return Moments([(collection, released)])


def clock(device: str) -> float:
    """CPU seconds of this process, or on a GPU seconds once it has done all that it was given."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], device: str) -> float:
    """What `work` takes on the clock of the device."""
    start = clock(device)
    work()
    return clock(device) - start


def wall(work: Callable[[], object]) -> float:
    """What `work` takes on the wall."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Operations(TorchDispatchMode):
    """Counts what is computed while it is entered.

    Attributes:
        count: Operators that do more than look at memory in another way.
        floating: Floating-point operations of convolutions and products.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.count, self.floating = 0, 0

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.count += not func.is_view
        if func is torch.ops.aten.convolution_backward.default:  # torch forgets groups there
            (out, x, weight), turned, wanted = args[:3], args[7], args[10]
            self.floating += sum(wanted[:2]) * conv_flop_count(
                *(x.shape, weight.shape, out.shape), transposed=turned
            )
        elif cost := flop_registry.get(func.overloadpacket):
            self.floating += cost(*args, **(kwargs or {}), out_val=found)
        return found


def matrix_rate(device: str, *, size: int) -> float:
    """Floating-point operations a second of a product of two square matrices, in float32."""
    a = torch.rand(size, size, device=device)
    torch.mm(a, a)
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, a), device) for _ in range(5))


class _Enough(Exception):
    """Raised after the last step that is timed: what follows belongs to no step."""


def steps_of(
    evidence: Evidence,
    loss: Loss,
    sets: int,
    steps: int,
    *,
    peer: Callable[[], object] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds of some steps of condensation after the first, and of the peer's by turns."""
    device = evidence.device
    ours: list[float] = []
    others: list[float] = []
    started = 0.0

    def progress(done: int, _total: int) -> None:
        nonlocal started
        if done > 1:
            ours.append(clock(device) - started)
        if peer is not None:
            others.append(seconds(peer, device))
        if done > steps:
            raise _Enough
        started = clock(device)

    with contextlib.suppress(_Enough):
        condense(
            [Task(weights=(1.0,), seed=seed) for seed in range(sets)],
            evidence=evidence,
            losses=[loss],
            settings=CondenseSettings(steps=steps + 1, labels="hard"),
            progress=progress,
        )
    return tuple(ours), tuple(others[1:])


def main_of_a_child() -> bool:
    """Print by how many MiB its peak grew after the first batch of a pass, if it is for that."""
    if sys.argv[1:2] != ["pass"]:
        return False
    torch.set_num_threads(1)
    keep_freed_memory()
    info = facts(int(sys.argv[2]))
    collection = class_means(info, "convnet2-w32-half")
    held: list[float] = []
    collection.sums(pass_records(info), progress=lambda *_: held.append(_most_held()))
    print(held[-1] - held[0])
    return True


def _most_held() -> float:
    """The most that this process has held, in MiB; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
