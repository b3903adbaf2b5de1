"""A private study of fake trials that take no time: everything but condensing and scoring is real.

Results of jobs are functions of the jobs alone, so that a study that was killed can be compared
with one that was not. `run_killed` runs one in a process of its own, which meets a signal at its
n-th step that writes.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import sys
import traceback
import zlib
from functools import partial
from pathlib import Path

import torch
from ledgers import read_events
from tiny import PRIVATE, TINY

from moc.condense.loop import Condensed
from moc.data.curve import Curve, exponents, load_curve
from moc.data.synthetic import balanced_labels, one_hot
from moc.errors import BudgetExceededError
from moc.privacy.held_out import Counts
from moc.privacy.ledger import Ledger
from moc.search.certainty import probability_nondominated
from moc.study.config import parse_config
from moc.study.jobs import CondenseCurves, Dial
from moc.study.measuring_jobs import Score
from moc.study.run import run_study
from moc.study.stopping import Stopped
from moc.study.store import read_study

TABLES = {
    **PRIVATE,
    "name": "fast",
    "data": {**TINY["data"], "reference": 0},
    "evidence": {"kind": "proxy", "images_per_class": 2, "steps": 1, "batch": 10},
    "rounds": [{"networks": ["convnet2-w8"], "count": 1}],
    "evaluate": {**TINY["evaluate"], "report_replicates": 0},
    "search": {"trials": 8, "batch": 2, "engine": "sobol"},
}
FINISHED, STOPPED, SPENT, WRONG = 0, 3, 4, 9
"""How a process ends that was not killed."""
_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"}


def _generator(words: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(words.encode()))


def _curves(self, context, progress, /):
    found, info = [], context.evidence.info
    settings = context.recipes[self.recipe].condense
    names = tuple(context.recipes[self.recipe].losses)
    y = balanced_labels(settings.images_per_class, len(info.classes))
    controls = len(exponents(len(names), settings.curve.degree))
    for start in self.starts:
        x = torch.rand(controls, len(y), *info.shape, generator=_generator(f"curve {start.rung}"))
        labels = one_hot(y, len(info.classes))[None]
        degree = settings.curve.degree
        found.append(Curve(info=info, losses=names, degree=degree, x=x, labels=labels))
    return found


def _dial(self, context, progress, /):
    curve = load_curve(self.path)
    return [
        Condensed(
            synthetic=curve.at(**point),
            losses=tuple(torch.rand(2, generator=_generator(str(point))).tolist()),
        )
        for point in self.points
    ]


def _score(self, context, progress, /):
    measures = context.measures[self.records]
    columns, n = sum(m.columns for m in measures.values()), len(context.held_out[self.records])
    sums = torch.rand(len(self.seeds), columns, generator=_generator(self.name)).double() * n
    return Counts(_sums=sums, bound=1.0)


def fake(monkeypatch, *, draws=20) -> None:
    """Let jobs take no time, and chances be drawn a few times only."""
    drawn = partial(probability_nondominated, draws=draws)
    monkeypatch.setattr("moc.study.standing.probability_nondominated", drawn)
    monkeypatch.setattr(CondenseCurves, "run", _curves)
    monkeypatch.setattr(Dial, "run", _dial)
    monkeypatch.setattr(Score, "run", _score)


def run(folder: Path, tables=TABLES):
    """Run the study, or go on with it."""
    return run_study(parse_config(tables, where="test"), folder)


def run_killed(folder: Path, step: int, number: int, seed: int) -> int:
    """Run in a process that meets a signal at a step that writes; gives its exit code.

    That of a process that was killed is the signal, negative.
    """
    return run_apart(lambda: _plant(step, number, random.Random(seed)), lambda: run(folder))


def run_apart(plant, do) -> int:
    """Do something in a process of its own, once something was planted; gives its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = WRONG
    try:
        plant()
        do()
        code = FINISHED
    except Stopped:
        code = STOPPED
    except BudgetExceededError:
        code = SPENT
    except OSError as error:
        code = error.errno if error.filename or error.errno == errno.EFBIG else WRONG
    except BaseException:  # noqa: BLE001 - it is told by the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def full_disk(size: int) -> None:
    """Let no file of this process grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def read_only(folder: Path) -> None:
    """Let this process write nothing in a folder."""

    def hook(event, arguments):
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3
        if (opened or event in _WRITES) and str(arguments[0]).startswith(str(folder)):
            raise OSError(errno.EROFS, "Read-only file system", str(arguments[0]))

    sys.addaudithook(hook)


def _plant(step: int, number: int, rng: random.Random) -> None:
    """Let this process meet a signal at its n-th step that writes."""
    left, write = [step], os.write

    def count() -> bool:
        left[0] -= 1
        return left[0] == 0

    def meet() -> None:
        if count():
            os.kill(os.getpid(), number)

    def torn(place, data):
        if count():
            if number == signal.SIGKILL:
                write(place, data[: rng.randrange(len(data) + 1)])
            os.kill(os.getpid(), number)
        return write(place, data)

    def synced(_place):
        meet()  # and no more: what a killed process wrote is written, on the disk or not

    def hook(event, arguments):
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3
        if event in _WRITES or opened:
            meet()

    os.write, os.fsync = torn, synced
    sys.addaudithook(hook)


def outcome(folder: Path) -> dict:
    """All that must not depend on what was done to a study while it ran."""
    study = read_study(folder)
    trials = [(t.number, t.kind, t.point, t.scores, t.losses, t.epsilon) for t in study.trials]
    sets = [(folder / trial.set_path).read_bytes() for trial in study.trials]
    return {
        "complete": study.complete,
        "trials": trials,
        "sets": sets,
        "front": study.front,
        "chances": study.p_nondominated,
        "hypervolume": study.hypervolume,
        "epsilon": study.epsilon,
    }


def doubled(folder: Path) -> list[str]:
    """Events that stand in the ledger more than once."""
    names = [
        f"{e['event']} {e.get('trial')} {e.get('rung')} {e.get('batch')}"
        for e in read_events(folder)
    ]
    return sorted({name for name in names if names.count(name) > 1})


def draws_of(folder: Path) -> int:
    """How many draws of noise the privacy ledger of a study counts."""
    return Ledger(None, path=folder / "privacy.jsonl").begun("release/0")
