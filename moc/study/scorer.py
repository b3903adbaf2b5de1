"""Scores of stored sets: which networks, which records, and who publishes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from moc.evaluate import make_protocol, suite_for, to_scores
from moc.evaluate.examination import CURVE, budgets
from moc.evaluate.robust import SUITES
from moc.evaluate.scoring import estimates
from moc.study.executors import make_executor
from moc.study.jobs import Examine, Score, Workplace
from moc.study.records import Curve, set_path
from moc.study.releases import device_of, threat_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from moc.evaluate.masking import Check
    from moc.evaluate.scores import Estimate, Scores
    from moc.evidence.held_out import HeldOut
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter
    from moc.study.setup import Materials

_EXAMINED = {"fast": 200, "standard": 1000}
"""Test records of a closer look, by protocol. A share of 200 is known to 7 points (95 %), which
shows masking as it is known, of 20 points and more; 1000 make it 3."""

_TEST_SEEDS = 500_000  # networks of the report are none of those that the search saw


class Scorer:
    """Trains networks on the sets of a study and measures them on held-out records.

    Every set meets the same networks (common random numbers): those of the search on validation
    records, fresh ones on test records.
    """

    def __init__(
        self, config: StudyConfig, folder: Path, materials: Materials, reporter: Reporter
    ) -> None:
        """Start the executor; `close` it in the end."""
        self._config, self._folder, self._reporter = config, folder, reporter
        self._device = device_of(config)
        self._protocol = make_protocol(
            config.evaluate.protocol, materials.evidence.info, threat_of(config)
        )
        self._held_out = {"validation": materials.validation, **_test_records(config, materials)}
        self._suites = {
            name: suite_for(self._protocol, records) for name, records in self._held_out.items()
        }
        if config.evaluate.report_suite and "test" in self._suites:
            self._suites["test"] = SUITES[config.evaluate.report_suite]
        workplace = Workplace(protocol=self._protocol, held_out=self._held_out, device=self._device)
        self._executor = make_executor(workplace, workers=config.workers)

    @property
    def examined(self) -> HeldOut | None:
        """Records that may be shown to attacks, if there are any."""
        return self._held_out.get("examined")

    def describe(self) -> str:
        """The protocol in words, with the attacks that really run on each kind of records."""
        suite, records = self._suites["validation"], len(self._held_out["validation"])
        text = replace(self._protocol, suite=suite).describe()
        text += f" These attacks (suite {suite.name!r}) ran on {records} validation records"
        if "test" not in self._held_out:
            return f"{text}, and none on test records."
        test = self._suites["test"]
        if test != suite:
            attacks = ", ".join(attack.label for attack in test.attacks)
            text += f"; others, {attacks} (suite {test.name!r}),"
        else:
            text += " and, on fresh networks,"
        return f"{text} on {len(self._held_out['test'])} test records."

    def measure(
        self, names: Sequence[str], held_out: str, title: str
    ) -> Iterator[tuple[str, Scores, float]]:
        """Score `sets/NAME.safetensors` for each name; yields (name, scores, seconds) as it comes.

        Nothing is yielded for test records that the study does not measure on. Epsilon is left
        at infinity: whoever knows what a set read fills it in.
        """
        if held_out not in self._held_out or not names:
            return
        records = self._held_out[held_out]
        jobs = [
            Score(
                key=name,
                path=self._folder / set_path(name),
                held_out=held_out,
                seeds=self._seeds(test=held_out == "test"),
                suite=self._suites[held_out],
            )
            for name in names
        ]
        with self._reporter.stage(title) as progress:
            progress(0, len(jobs))
            for done, (name, counts, seconds) in enumerate(self._executor.run(jobs), start=1):
                yield name, to_scores(records.publish(counts), epsilon=math.inf), seconds
                progress(done, len(jobs))

    def examine(
        self, names: Sequence[str], *, checked: Collection[str], transfer: Sequence[nn.Module]
    ) -> Iterator[tuple[str, tuple[Check, ...], Curve]]:
        """Masking checks of the sets `checked`, and the robustness curves of all `names`."""
        records, seeds = self._held_out["examined"], self._seeds(test=True)
        jobs = [
            Examine(
                key=name,
                path=self._folder / set_path(name),
                held_out="examined",
                seeds=seeds,
                checked=name in checked,
                transfer_models=tuple(transfer) if name in checked else (),
            )
            for name in names
        ]
        with self._reporter.stage("checking the attacks, and curves against eps") as progress:
            progress(0, len(jobs))
            for done, (name, found, _) in enumerate(self._executor.run(jobs), start=1):
                errors = estimates(records.publish(found.counts))
                yield name, found.checks, self._curve(name, errors, records)
                progress(done, len(jobs))

    def close(self) -> None:
        """Let the executor go."""
        self._executor.close()

    def _curve(self, name: str, errors: Sequence[Estimate], records: HeldOut) -> Curve:
        return Curve(
            name=name,
            eps=tuple(threat.eps for threat in budgets(self._protocol.threat)),
            errors=tuple(errors),
            attacks=tuple(attack.label for attack in CURVE.attacks),
            records=len(records),
            networks=len(self._seeds(test=True)),
        )

    def _seeds(self, *, test: bool) -> tuple[int, ...]:
        e = self._config.evaluate
        first = self._config.seed * 1_000_000 + (_TEST_SEEDS if test else 0)
        return tuple(range(first, first + (e.report_replicates if test else e.replicates)))


def _test_records(config: StudyConfig, materials: Materials) -> dict[str, HeldOut]:
    """Those that the report is measured on and those that it looks at closer, if there are any."""
    e = config.evaluate
    if materials.test is None or not e.report_replicates:
        return {}
    return {
        "test": materials.test.first(e.report_records),
        "examined": materials.test.first(_EXAMINED[e.protocol]),
    }
