"""`make bench`: how fast moc is on this machine, beside itself and others, in one run.

    python tests/benchmarks/bench.py --out bench
    python tests/benchmarks/bench.py --baseline before.json --vico ../DatasetCondensation
    python tests/benchmarks/bench.py --rows dm-step --real 5000 --repeats 10

Every row times moc and what it is compared with by turns, several times, and gives the median with
the least and the largest. Ratios are taken turn by turn, so that a machine that others use too
slows down both sides alike. On a CPU, times are CPU seconds of one thread where the row does not
say otherwise; on a GPU, seconds between two synchronisations. Images are random: nothing is
fetched, and no time depends on what they show.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_rows import ROWS, Row
from bench_things import main_of_a_child

from moc.memory import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large everything is; see the options."""

    repeats: int = 3
    real: int = 2560
    width: int = 128
    together: tuple[int, ...] = (1, 8, 32)
    attacked_width: int = 32
    sets: int = 3
    networks: int = 2
    epochs: int = 8
    records: int = 1000
    device: str = "cpu"
    vico: Path | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows that are asked for, and write `<out>.json` and `<out>.md`."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes = Sizes(**{name: getattr(options, name) for name in Sizes.__dataclass_fields__})
    baseline = json.loads(options.baseline.read_text()) if options.baseline else None
    report: dict[str, Any] = {"machine": _machine(sizes.device), "sizes": _plain(sizes), "rows": []}
    for name in options.rows:
        start = time.perf_counter()
        for row in ROWS[name](sizes):
            report["rows"].append(_summary(row, baseline))
            _write(report, options.out)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    print(_markdown(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("bench"), help="files without suffix")
    parser.add_argument("--baseline", type=Path, help="JSON of an earlier run")
    parser.add_argument("--vico", type=Path, help="a checkout of VICO-UoE/DatasetCondensation")
    parser.add_argument("--device", default="cpu")
    own = Sizes()
    parser.add_argument("--repeats", type=int, default=own.repeats)
    parser.add_argument("--real", type=int, default=own.real, help="records of T in a DM step")
    parser.add_argument("--width", type=int, default=own.width, help="channels in a DM step")
    parser.add_argument("--together", type=int, nargs="+", default=own.together, help="sets")
    parser.add_argument("--attacked-width", type=int, default=own.attacked_width)
    parser.add_argument("--sets", type=int, default=own.sets, help="sets that are evaluated")
    parser.add_argument("--networks", type=int, default=own.networks, help="networks on each")
    parser.add_argument("--epochs", type=int, default=own.epochs, help="of each network")
    parser.add_argument("--records", type=int, default=own.records, help="N of the passes over T")
    return parser


def _plain(sizes: Sizes) -> dict[str, Any]:
    return {key: value for key, value in asdict(sizes).items() if key != "vico"}


def _machine(device: str) -> dict[str, Any]:
    """What the numbers belong to."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "device": torch.cuda.get_device_name() if device != "cpu" else "CPU",
        "processor": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _summary(row: Row, baseline: dict[str, Any] | None) -> dict[str, Any]:
    """The row with its spread and its ratios; above 1, moc is the faster or smaller one."""
    found = asdict(row) | {"median": median(row.ours), "least": min(row.ours)}
    found["largest"] = max(row.ours)
    if row.others:
        ratios = [other / max(own, 1e-9) for own, other in zip(row.ours, row.others, strict=True)]
        found["ratio"] = {"median": median(ratios), "least": min(ratios), "largest": max(ratios)}
    earlier = [one for one in (baseline or {"rows": []})["rows"] if one["name"] == row.name]
    if earlier and earlier[0]["unit"] == row.unit:
        found["over_baseline"] = earlier[0]["median"] / max(found["median"], 1e-9)
    return found


def _markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    machine = report["machine"]
    lines = [
        f"{machine['device']}, {machine['processor']}, {machine['cores']} cores, load "
        f"{machine['load']:.1f} at the start, torch {machine['torch']}; median (least to largest) "
        f"of {report['sizes']['repeats']}.",
        "",
        "| | moc | compared with | ratio | aim | over the baseline |",
        "|---|---:|---|---:|---|---:|",
    ]
    for row in report["rows"]:
        own = f"{row['median']:.3g} ({row['least']:.3g} to {row['largest']:.3g}) {row['unit']}"
        ratio = row.get("ratio")
        beside = "" if ratio is None else f"{ratio['median']:.2f} ({_spread(ratio)})"
        over = f"{row['over_baseline']:.2f}" if "over_baseline" in row else ""
        against = f"{row['against']}: {median(row['others']):.3g} {row['unit']}" if ratio else ""
        lines.append(f"| {row['name']} | {own} | {against} | {beside} | {row['aim']} | {over} |")
    return "\n".join(lines) + "\n"


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['least']:.2f} to {ratio['largest']:.2f}"


def _write(report: dict[str, Any], out: Path) -> None:
    out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    out.with_suffix(".md").write_text(_markdown(report))


if __name__ == "__main__":
    main_of_a_child() or main()
