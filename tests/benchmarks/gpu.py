"""`make gpu`: what is to be known on a GPU, in slices, into one file to bring home.

    python tests/benchmarks/gpu.py --out gpu.json
    python tests/benchmarks/gpu.py --out gpu.json --small

A slice is a process of its own: the tests marked `gpu`, a row of the benchmark, a set under the
standard protocol. What a slice finds is in the file once it ends; the same command does what is
missing, so that a run that was cut off, or that ended at its limit, goes on. `--small` runs the
small form of every slice on the CPU: it shows that they run, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A piece that runs by itself.

    Attributes:
        name: In the file.
        command: What runs; `{out}` stands for a JSON file that it writes, if it writes one.
    """

    name: str
    command: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; 0 once all is there, 75 (try again) if not, 1 if a slice failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--small", action="store_true", help="the small form, on the CPU")
    parser.add_argument("--limit", type=float, default=540, help="seconds that this run may take")
    parser.add_argument("--only", nargs="+", help="names of slices")
    options = parser.parse_args(arguments)
    if not options.small and not torch.cuda.is_available():
        parser.error("no CUDA device here; --small runs the small form on the CPU")
    device = "cpu" if options.small else "cuda"
    report = _report(options.out, device)
    wanted = [one for one in slices(device) if not options.only or one.name in options.only]
    end = time.monotonic() + options.limit
    for one in wanted:
        if report["slices"].get(one.name, {}).get("rc") == 0:
            continue
        left = end - time.monotonic()
        if left <= 0:
            break
        report["slices"][one.name] = run(one, limit=left, small=options.small)
        part = options.out.with_suffix(".part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(options.out)
        print(one.name, {k: report["slices"][one.name][k] for k in ("rc", "seconds")}, flush=True)
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
        sizes = SMALL_BENCH if small else ()
        found.append(Slice(name=f"bench {name}", command=(*bench, *sizes, "--out", "{out}")))
    for kind in standard_rows.KINDS:
        row = (python, rows, kind, "--device", device, *(("--small",) if small else ()))
        found.append(Slice(name=f"standard {kind}", command=(*row, "--out", "{out}")))
    return found


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
