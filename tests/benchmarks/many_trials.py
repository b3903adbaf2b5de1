"""How long studies of many stored trials take: to resume, to read, and to write their report.

PYTHONPATH=.:tests python tests/benchmarks/many_trials.py [TRIALS ...]  (200 and 2000 if left out)

Trials are fake, all else is real: see `tests/fast_trials.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fast_trials import TABLES, fake, run
from ledgers import read_events, write_events

from moc.study.store import read_study
from moc.views.page import write_page


def timed(what: str, do: Callable[[], object]) -> None:
    """Do something, and say how long it took."""
    start = time.perf_counter()
    do()
    print(f"  {what:<50} {time.perf_counter() - start:7.2f} s", flush=True)


def measure(count: int, place: Path) -> None:
    """Measure a study of so many trials."""
    os.environ["MOC_LEDGER"] = str(place / "ledger.jsonl")
    folder, page = place / "study", place / "report.html"
    search = {"trials": count, "batch": max(count // 5, 2), "engine": "sobol"}
    tables = {**TABLES, "search": search}
    print(f"{count} trials")
    timed("the whole study, of fake trials", lambda: run(folder, tables))
    events = read_events(folder)
    scored = [k for k, event in enumerate(events) if event["event"] == "scored"]
    write_events(folder, events[: scored[-1]])
    timed("resume, with the last trial to score", lambda: run(folder, tables))
    timed("read: front, probabilities, hypervolume", lambda: read_study(folder))
    study = read_study(folder)
    timed("write the report", lambda: write_page(study, page))
    print(f"  {'size of the report':<50} {page.stat().st_size / 1e6:7.1f} MB")


def main(counts: list[int]) -> None:
    """Measure studies of so many trials."""
    torch.set_num_threads(1)
    fake(pytest.MonkeyPatch())
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            measure(count, Path(place))


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [200, 2000])
