"""What benchmarks share that measure every rung of a study under several seeds."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from moc.memory import keep_freed_memory
from moc.study.config import load_config, parse_config
from moc.study.context import StudyContext
from moc.study.reporter import Silent

Rows = list[dict[str, Any]]


def parser_of(description: str | None, *, out: str) -> argparse.ArgumentParser:
    """Options that all have: which study, seeds and rungs, and how many networks a set."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--profile")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rungs", type=int, nargs="+")
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def measure_rungs(
    options: argparse.Namespace,
    measure: Callable[[StudyContext, int, int, argparse.Namespace], Iterable[dict[str, Any]]],
    report: Callable[[Rows], object],
) -> None:
    """Add the rows of every seed and rung that the file lacks, and report after each.

    Args:
        options: Of `parser_of`, and whatever `measure` wants.
        measure: From a study's context, the seed, the rung and the options to rows, which name
            their `seed` and `rung`.
        report: Is given all rows there are.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    rows: Rows = json.loads(options.out.read_text()) if options.out.exists() else []
    for seed in options.seeds:
        tables = load_config(options.study, profile=options.profile).model_dump()
        config = parse_config({**tables, "seed": seed}, where=str(options.study))
        with tempfile.TemporaryDirectory() as folder:
            context = StudyContext.load(config, Path(folder), Silent())
            for rung in options.rungs or range(context.rungs):
                if any((row["seed"], row["rung"]) == (seed, rung) for row in rows):
                    continue
                rows += list(measure(context, seed, rung, options))
                options.out.write_text(json.dumps(rows, indent=1))
                report(rows)
