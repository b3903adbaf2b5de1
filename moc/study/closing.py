"""The end of a study: baselines, the front measured again on test records, and a closer look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from moc.data.decoder import AS_STORED
from moc.data.storage import load_set, save_set
from moc.evaluate.baselines import BASELINES, DECODED, select
from moc.evaluate.examine import CURVE, budgets
from moc.evaluate.masking import Check
from moc.evaluate.measure import error_estimate
from moc.evaluate.scoring import estimates
from moc.objectives.base import Facts
from moc.privacy.held_out import Counts, Rates
from moc.study.attempts import Failure
from moc.study.context import StudyContext
from moc.study.events import StudyLedger
from moc.study.executors import Done
from moc.study.findings import RobustnessCurve
from moc.study.measuring_jobs import Examine, Score
from moc.study.records import StudyRecord, set_path, trial_name
from moc.study.store import checks_to_json, curve_to_json, read_study, scores_to_json
from moc.study.transfer import Transfer, train_transfer
from moc.study.worklist import Worklist, network_seeds


class Closing:
    """What a study does once its trials are scored."""

    def __init__(self, context: StudyContext, ledger: StudyLedger, work: Worklist) -> None:
        """Close the study of `context`."""
        self.context, self.ledger, self.work, self.config = context, ledger, work, context.config

    def all(self) -> None:
        """Whatever is not in the ledger yet."""
        self._score_baselines()
        self._measure_front()

    def _score_baselines(self) -> None:
        """Score real images of the same budget by the same protocol, on the same records.

        They are chosen from T itself in an open study and from records declared public in a
        private one, which has none without them. A study that pays for scores has none either:
        its validation records are for trials only.
        """
        reference, decoder = self.context.reference, self.config.condense.decoder
        if reference is None or self.config.pays_for_scores:
            return
        decoders = dict.fromkeys(BASELINES, AS_STORED)
        if not decoder.is_trivial:
            decoders[DECODED] = decoder
        names = [name for name in decoders if self.ledger.find("baseline", name=name) is None]
        for name in names:
            chosen = select(
                name,
                *reference,
                self.context.info,
                per_class=self.config.condense.images_per_class,
                seed=self.config.seed,
                decoder=decoders[name],
            )
            save_set(chosen, self.context.folder / set_path(name), mode=0o600)
        kinds = [kind for kind in ("validation", "test") if kind in self.context.held_out]
        jobs = [self.work.score(name, kind) for name in names for kind in kinds]
        found: dict[str, dict[str, dict[str, list[float]]]] = {}
        for done in self.work.results("scoring baselines", jobs, steps=len(jobs)):
            if self._failed(done):
                continue
            own = found.setdefault(done.job.name, {})
            own[done.job.records] = self._scores(done.result, done.job.records, done.job, math.inf)
            if len(own) == len(kinds):
                self.ledger.append(
                    "baseline",
                    name=done.job.name,
                    scores=own["validation"],
                    report=own.get("test"),
                )

    def _failed(self, done: Done) -> bool:
        """Whether a job has failed, which is said: the study ends without its result."""
        if isinstance(done.result, Failure):
            self.context.reporter.say(f"Left out: {done.job.key} failed: {done.result.cause}.")
        return isinstance(done.result, Failure)

    def _measure_front(self) -> None:
        """Measure every trial of the front once more: fresh networks, test records.

        The same networks are then looked at closer, by masking checks and robustness curves, and
        so are the baselines'.
        """
        study = read_study(self.context.folder)
        numbers = {trial_name(number): number for number in study.front}
        names = [*numbers, *(baseline.name for baseline in study.baselines)]
        jobs = [job for name in names if (job := self._job(name, study, numbers.get(name)))]
        if not jobs:
            return
        title = "testing the front, checking the attacks, and curves against eps"
        for done in self.work.results(title, jobs, steps=len(jobs)):
            if self._failed(done):
                continue
            number = numbers.get(done.job.name)
            examined = isinstance(done.job, Examine)
            counts = done.result.counts if examined else done.result
            if number is not None and counts is not None:
                scores = self._scores(counts, "test", done.job, study.trial(number).epsilon)
                self.ledger.append("reported", trial=number, scores=scores)
            if examined:
                words = "" if number is None else self._transfer(study, number).words
                note_examined(
                    self.context,
                    self.ledger,
                    done.job.name,
                    checks=done.result.checks,
                    curve=done.result.curve,
                    trial=number,
                    transfer=words,
                )

    def _job(self, name: str, study: StudyRecord, number: int | None) -> Score | Examine | None:
        """What is still to be measured of a trial of the front, or of a baseline."""
        parts = self.context.held_out
        reported = number is None or self.ledger.find("reported", trial=number) is not None
        missing = "test" in parts and not reported
        if "examined" not in parts or self.ledger.find("examined", name=name) is not None:
            return self.work.score(name, "test") if missing else None
        return Examine(
            key=f"examine {name}",
            name=name,
            path=self.context.folder / set_path(name),
            records="examined",
            seeds=network_seeds(self.config, test=True),
            checked=number is not None,
            transferred=() if number is None else self._transfer(study, number).records,
            scored="test" if missing else None,
        )

    def _scores(
        self, counts: Counts, kind: str, job: Score | Examine, epsilon: float
    ) -> dict[str, list[float]]:
        """Published scores of a set on a kind of held-out records, in JSON form."""
        rates = self.context.held_out[kind].publish(counts)
        facts = Facts(synthetic=load_set(job.path), epsilon=epsilon)
        found = estimates(rates, self.work.measures[kind])
        return scores_to_json(self.context.complete(found, facts))

    def _transfer(self, study: StudyRecord, number: int) -> Transfer:
        """Other networks for the masking checks of a trial, of nothing above its own rung."""
        rung = study.trial(number).rung
        place = 0 if rung is None or self._shared_transfer else rung.index
        if place not in self._transfers:
            stand_in = next(t for t in study.trials if t.rung is None or t.rung.index == place)
            self._transfers[place] = train_transfer(self.context, stand_in=stand_in)
        return self._transfers[place]

    @cached_property
    def _transfers(self) -> dict[int, Transfer]:
        return {}

    @property
    def _shared_transfer(self) -> bool:
        """Whether the networks are trained on records that readers of every rung may see."""
        return self.context.reference is not None


def note_examined(
    context: StudyContext,
    ledger: StudyLedger,
    name: str,
    *,
    checks: Sequence[Check],
    curve: Counts,
    trial: int | None,
    transfer: str,
) -> None:
    """Note what a closer look at a set has found.

    Args:
        context: The study.
        ledger: Its ledger.
        name: Trial or baseline.
        checks: Masking checks of its first network.
        curve: (R, m) records right under attack, by network and budget.
        trial: The number of the trial.
        transfer: What the networks that attacks were transferred from were trained on, in words.
    """
    records = context.held_out["examined"]
    shown = RobustnessCurve(
        name=name,
        eps=tuple(threat.eps for threat in budgets(context.config.threat)),
        errors=tuple(error_estimate(one) for one in _columns(records.publish(curve))),
        attacks=tuple(attack.label for attack in CURVE.attacks),
        records=len(records),
        networks=len(network_seeds(context.config, test=True)),
    )
    ledger.append(
        "examined",
        name=name,
        trial=trial,
        checks=checks_to_json(checks),
        transfer=transfer,
        curve=curve_to_json(shown),
    )


def _columns(rates: Rates) -> Sequence[Rates]:
    """The columns of published rates (R, m), each by itself (R, 1)."""
    return [
        Rates(values=column, noise=rates.noise, records=rates.records)
        for column in rates.values.split(1, dim=1)
    ]
