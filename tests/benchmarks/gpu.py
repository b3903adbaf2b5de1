"""`make gpu`: what is to be known on a GPU, in slices, into one file to bring home.

    python tests/benchmarks/gpu.py --out gpu.json
    python tests/benchmarks/gpu.py --out gpu.json --small

A slice is a process of its own: the tests marked `gpu`, a row of the benchmark, a set under the
standard protocol, a private set from two rounds, a curve against sets apart, sets that are trained
on under attack. Slices that measure time run alone; of the others, `--beside` run at once. What a
slice finds is in the file once it ends; the same command does what is missing, so that a run that
was cut off, or that ended at its limit, goes on. `--small` runs the small form of every slice on
the CPU: it shows that they run, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import standard_rows
import torch
from bench_rows import ROWS

HERE = Path(__file__).parent
TAIL = 2000  # characters of a slice's output that are kept
SMALL_BENCH = ["--repeats", "1", "--real", "20", "--width", "4", "--attacked-width", "4"]
SMALL_BENCH += ["--together", "1", "2", "--sets", "1", "--networks", "2", "--epochs", "2"]
SMALL_BENCH += ["--records", "32"]
GPU_BENCH = ["--sets", "4", "--networks", "4"]
SEEDS = (0, 1, 2)
BY_MEANS = ["--recipes", "moments", "--variants"]
BY_POOL = ["--proxy", "200", "--condense-steps", "2000", "--seen-under", "convnet3-w128"]
BY_POOL += ["--recipes", "pool", "--variants", "learned"]
ROUNDS = {
    "private 50 a class": [*BY_MEANS, "learned", "--per-class", "50"],
    "private 10 a class": [*BY_MEANS, "learned"],
    "private 10 a class, three rounds": [*BY_MEANS, "three", "--share", "0.34"],
    "private 10 a class, pool": BY_POOL,
}
PRIVATE = ["fashion", "--train", "59900", "--test", "10000", "--networks", "32", "--steps", "2000"]
PRIVATE += ["--epsilons", "1"]
PRIVATE += ["--ages", "10", "20", "40", "80", "160", "320", "640", "1000", "--protocol", "standard"]
SMALL_PRIVATE = ["digits", "--network", "convnet2-w8", "--networks", "2", "--ages", "2", "4"]
SMALL_PRIVATE += ["--steps", "2", "--learn-from", "2", "--trained", "1", "--epsilons", "1"]
SMALL_SIZES = ["--per-class", "2", "--proxy", "3", "--condense-steps", "2"]
SMALL_SIZES += ["--seen-under", "convnet2-w8"]
CURVE = ["--points", "9", "--networks", "2"]
SMALL_CURVE = ["--points", "2", "--networks", "1", "--steps", "2"]
ATTACKED = ["--networks", "3", "--full", "500"]
SMALL_ATTACKED = ["--networks", "1", "--full", "10"]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A piece that runs by itself.

    Attributes:
        name: In the file.
        command: What runs; `{out}` stands for a JSON file that it writes, if it writes one.
        timed: Whether it measures time, so that nothing may run beside it.
    """

    name: str
    command: tuple[str, ...]
    timed: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; 0 once all is there, 75 (try again) if not, 1 if a slice failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--small", action="store_true", help="the small form, on the CPU")
    parser.add_argument("--limit", type=float, default=540, help="seconds that this run may take")
    parser.add_argument("--only", nargs="+", help="beginnings of names of slices")
    parser.add_argument("--beside", type=int, default=1, help="slices at once that measure no time")
    options = parser.parse_args(arguments)
    if not options.small and not torch.cuda.is_available():
        parser.error("no CUDA device here; --small runs the small form on the CPU")
    device = "cpu" if options.small else "cuda"
    report = _report(options.out, device)
    only = tuple(options.only or [""])
    wanted = [one for one in slices(device) if one.name.startswith(only)]
    missing = [one for one in wanted if report["slices"].get(one.name, {}).get("rc") != 0]
    for one, found in _run_all(missing, options):
        report["slices"][one.name] = found
        part = options.out.with_suffix(".part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(options.out)
        print(one.name, {k: found[k] for k in ("rc", "seconds")}, flush=True)
    states = [report["slices"].get(one.name, {"rc": None})["rc"] for one in wanted]
    if all(state == 0 for state in states):
        return 0
    return 75 if all(state in (0, None, 124) for state in states) else 1


def slices(device: str) -> list[Slice]:
    """All slices, the shortest first."""
    small = device == "cpu"
    python, rows = sys.executable, str(HERE / "standard_rows.py")
    tests = (python, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(HERE.parent))
    found = [Slice(name="tests", command=tests)]
    for name in ROWS:
        bench = (python, str(HERE / "bench.py"), "--rows", name, "--device", device)
        command = (*bench, *(SMALL_BENCH if small else GPU_BENCH), "--out", "{out}")
        found.append(Slice(name=f"bench {name}", command=command, timed=True))
    profiled = (python, str(HERE / "profile_gpu.py"), "--device", device)
    command = (*profiled, *(("--small",) if small else ()), "--out", "{out}")
    found.append(Slice(name="profile", command=command, timed=True))
    for seed, kind in product(SEEDS[:1] if small else SEEDS, standard_rows.KINDS):
        row = (python, rows, kind, "--seed", str(seed), "--device", device)
        command = (*row, *(("--small",) if small else ()), "--out", "{out}")
        found.append(Slice(name=f"standard {kind}, seed {seed}", command=command))
    for seed in SEEDS[:1] if small else SEEDS:
        found += _of_seed(seed, python, small=small)
    return found


def _of_seed(seed: int, python: str, *, small: bool) -> Iterator[Slice]:
    """What is measured over several seeds."""
    name = "digits_open" if small else "robust_fashion_mnist"
    study = (str(HERE.parents[1] / "studies" / f"{name}.toml"), "--seeds", str(seed))
    for name, program, sizes in (
        ("curve", "curve.py", SMALL_CURVE if small else CURVE),
        ("trained under attack", "trained_under_attack.py", SMALL_ATTACKED if small else ATTACKED),
    ):
        command = (python, str(HERE / program), *study, *sizes, "--out", "{out}")
        yield Slice(name=f"{name}, seed {seed}", command=command)
    private = (python, str(HERE / "private_rounds.py"), *(SMALL_PRIVATE if small else PRIVATE))
    for name, asked in ROUNDS.items():
        own = (*asked, *(SMALL_SIZES if small else ()))
        command = (*private, *own, "--seeds", str(seed), "--out", "{out}.cells")
        yield Slice(name=f"{name}, seed {seed}", command=command)


def _run_all(
    slices: Sequence[Slice], options: argparse.Namespace
) -> Iterator[tuple[Slice, dict[str, Any]]]:
    """Slices with what they found, as they end; none begins after the limit."""
    end = time.monotonic() + options.limit

    def one(piece: Slice) -> dict[str, Any] | None:
        left = end - time.monotonic()
        return run(piece, limit=left, small=options.small) if left > 0 else None

    for beside, timed in ((1, True), (options.beside, False)):
        with ThreadPoolExecutor(beside) as pool:
            running = {pool.submit(one, piece): piece for piece in slices if piece.timed == timed}
            for done in as_completed(running):
                if (found := done.result()) is not None:
                    yield running[done], found


def run(one: Slice, *, limit: float, small: bool) -> dict[str, Any]:
    """What a slice found: exit status (124 where time was up), seconds, output, and its JSON."""
    started = time.monotonic()
    environment = os.environ | ({"MOC_GPU_SMALL": "1"} if small else {})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [part.replace("{out}", str(out)) for part in one.command]
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=limit,
                check=False,
                env=environment,
            )
            rc, text = done.returncode, done.stdout
        except subprocess.TimeoutExpired:
            rc, text = 124, f"cut off after {limit:.0f} s"
        found = json.loads(out.read_text()) if rc == 0 and out.exists() else None
    seconds = round(time.monotonic() - started, 1)
    return {"rc": rc, "seconds": seconds, "found": found, "output": text[-TAIL:]}


def _report(path: Path, device: str) -> dict[str, Any]:
    """The file as it is, or a new one.

    Raises:
        SystemExit: If it is of another device.
    """
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, small form"
    if not path.exists():
        return {"device": name, "torch": torch.__version__, "slices": {}}
    report = json.loads(path.read_text())
    if report["device"] != name:
        raise SystemExit(f"{path} is of {report['device']}, this is {name}: name another --out.")
    return report


if __name__ == "__main__":
    sys.exit(main())
