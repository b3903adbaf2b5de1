"""Scores of stored sets: which networks, which records, and who publishes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from moc.data.storage import load_set
from moc.evaluate import make_protocol, suite_for, to_scores, train
from moc.evaluate.masking import Check, masking_report
from moc.study.executors import Job, Workplace, make_executor
from moc.study.records import set_path
from moc.study.releases import device_of, threat_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from moc.evaluate.scores import Scores
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter
    from moc.study.setup import Materials

_EXAMINED = 200  # records that the masking checks attack
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
        self._held_out = {"validation": materials.validation}
        if materials.test is not None and config.evaluate.report_replicates:
            self._held_out["test"] = materials.test
        self._device = device_of(config)
        self._protocol = make_protocol(
            config.evaluate.protocol, materials.evidence.info, threat_of(config)
        )
        workplace = Workplace(protocol=self._protocol, held_out=self._held_out, device=self._device)
        self._executor = make_executor(workplace, workers=config.workers)

    def describe(self) -> str:
        """The protocol in words, with the attacks that really run on the validation records."""
        suite = suite_for(self._protocol, self._held_out["validation"])
        return replace(self._protocol, suite=suite).describe()

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
        jobs = [self._job(name, held_out) for name in names]
        with self._reporter.stage(title) as progress:
            progress(0, len(jobs))
            for done, (name, counts, seconds) in enumerate(self._executor.run(jobs), start=1):
                yield name, to_scores(records.publish(counts), epsilon=math.inf), seconds
                progress(done, len(jobs))

    def masking(self, name: str) -> list[Check] | None:
        """Masking checks of one network trained on a set; None where no records may be shown."""
        if "test" not in self._held_out:
            return None
        job = self._job(name, "test")
        x, y = self._held_out["test"].examine(_EXAMINED)
        with self._reporter.stage("checking the attacks for masked gradients"):
            network = train(
                load_set(job.path), self._protocol, seed=job.seeds[0], device=self._device
            )
            return masking_report(
                network,
                x.to(self._device),
                y.to(self._device),
                threat=self._protocol.threat,
                classes=network.head.out_features,
                seed=job.seeds[0],
            )

    def close(self) -> None:
        """Let the executor go."""
        self._executor.close()

    def _job(self, name: str, held_out: str) -> Job:
        e, seed = self._config.evaluate, self._config.seed
        test = held_out == "test"
        first = seed * 1_000_000 + (_TEST_SEEDS if test else 0)
        count = e.report_replicates if test else e.replicates
        return Job(
            key=name,
            path=self._folder / set_path(name),
            held_out=held_out,
            seeds=tuple(range(first, first + count)),
        )
