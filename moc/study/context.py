"""What a study works with: its records handed to the ledger, evidence, losses and measures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from moc.condense.proxy import make_proxies
from moc.data.augment import Augmentation
from moc.data.storage import load_set, save_set
from moc.data.vault import RealData
from moc.discrepancies.base import Loss, LossContext
from moc.errors import DataError, StudyError
from moc.evaluate.baselines import require_enough
from moc.evaluate.measure import Measure
from moc.evaluate.protocols.base import describe
from moc.evaluate.scores import Estimate, Scores
from moc.evaluate.scoring import outcome_bound
from moc.evaluate.suites import Suite, suite_for
from moc.evidence.base import RECORDS, Evidence
from moc.evidence.kinds import ProxyEvidence, SamplesEvidence
from moc.evidence.moments import Moments
from moc.evidence.proxy import Proxy
from moc.networks.architectures import Architecture, default_network
from moc.networks.bank import Bank
from moc.networks.network import Ensembles, build
from moc.networks.train import BatchSource, Training
from moc.objectives.base import Facts, FrameContext, MeasureContext, frame_of
from moc.privacy.access import Budget
from moc.privacy.data_set import DataSetLedger, places_of
from moc.privacy.held_out import HeldOut, reference_records
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.shards import Workers
from moc.study.config import StudyConfig
from moc.study.division import describe_parts, parts_of, public_parts
from moc.study.jobs import Recipe, WorkerContext
from moc.study.machine import slow_compute
from moc.study.passes import workers_for
from moc.study.reporter import Reporter
from moc.study.rounds import draw_rounds
from moc.study.teachers import robust_teachers

_EXAMINED = {"fast": 200, "standard": 1000}
"""Test records of a closer look, by protocol; 200 where it is another. A share of 200 is known to 7
points (95 %), which shows masking as it is known, of 20 points and more; 1000 make it 3."""

_LOOKED = (
    " To find that out, labels of an open study were read as they are, which its records' ledger "
    "says (`moc ledger`)."
)
_MOST_NOISE = 0.2  # of a paid score: with more, sets that err always and never may change places


def device_of(config: StudyConfig) -> str:
    """The device of a study: `auto` takes a GPU where there is one.

    Raises:
        StudyError: If this machine has no such device.
    """
    there = "cuda" if torch.cuda.is_available() else "cpu"
    if config.device == "auto":
        return there
    try:
        torch.zeros(1, device=config.device).cpu()
    except (RuntimeError, AssertionError):
        raise StudyError(
            f"A device of this machine expected, 'auto' or such as {there!r}; found "
            f"device = {config.device!r} in the study file."
        ) from None
    return config.device


@contextmanager
def threads_of(config: StudyConfig) -> Iterator[None]:
    """Threads of this process: one where images are so small that more only get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def budget_of(config: StudyConfig) -> Budget | None:
    """What a study may spend; None if it is open."""
    p = config.privacy
    return Budget(epsilon=p.epsilons[0], delta=p.delta) if p else None


def ledger_of(
    config: StudyConfig, path: Path | None, parts: Mapping[str, RealData] | None = None
) -> Ledger:
    """The ledger of a study, at `path`, with its records handed over; nothing is read yet."""
    parts = parts_of(config) if parts is None else parts
    ledger = Ledger(budget_of(config), path=path, data_set=data_set_ledger(config))
    for name, part in parts.items():
        ledger.own(name, part, public=name in public_parts(config))
    return ledger


def data_set_ledger(config: StudyConfig) -> DataSetLedger:
    """The ledger of a study's data set: where its file and MOC_LEDGER say, or by default."""
    named = config.privacy and config.privacy.ledger
    return DataSetLedger(places_of(config.data.source.folder, named), study=config.name)


class StudyContext:
    """A study's settings, and all that is made from them once T has been handed over.

    Attributes:
        config: The settings.
        folder: The study folder.
        reporter: Told of long work.
        seed: The study's seed.
        ledger: The owner of T.
        info: What is declared public about T.
        device: Where tensors live.
    """

    def __init__(
        self, config: StudyConfig, ledger: Ledger, *, folder: Path, reporter: Reporter
    ) -> None:
        """Work on the records that `ledger` owns, `train` among them; nothing is read yet."""
        self.config, self.ledger, self.folder, self.reporter = config, ledger, folder, reporter
        self.seed, self.device = config.seed, device_of(config)
        self.info = ledger.info("train")

    @classmethod
    def load(cls, config: StudyConfig, folder: Path, reporter: Reporter) -> StudyContext:
        """Try the study out, and hold it to its records.

        Raises:
            MocError: If something does not fit, or the records are not those that it was begun on.
        """
        context = cls.try_out(config, folder, reporter)
        context.hold()
        if spent := context.ledger.spent_before():
            reporter.say(f"What studies of these records have spent so far: {spent}")
        return context

    @classmethod
    def try_out(cls, config: StudyConfig, folder: Path, reporter: Reporter) -> StudyContext:
        """Load the records, hand them to the ledger of `folder`, and try what needs none of them.

        Nothing is read through the ledger, paid for, or written.

        Raises:
            MocError: If the data cannot be loaded, or settings do not go with their shape.
        """
        parts = parts_of(config)
        ledger = ledger_of(config, folder / "privacy.jsonl", parts)
        reporter.say(describe_parts(config, parts))
        if warning := slow_compute(config.condense.compute, device_of(config)):
            reporter.say(warning)
        context = cls(config, ledger, folder=folder, reporter=reporter)
        context.rehearse()
        return context

    def hold(self) -> None:
        """Hold the study to the content of its records, T and every other part.

        Raises:
            MocError: If they are not those that it was begun with, or too few for its baselines.
        """
        if changed := self.ledger.hold():
            raise StudyError(
                f"{self.folder} holds a study of other records (they differ in: "
                f"{', '.join(changed)}), and a study is never continued on other data. Bring them "
                "back, or give the study another name."
            )
        if self.reference is not None and not self.config.pays_for_scores:
            try:
                needed = self.config.condense.records_per_class
                require_enough(self.reference[1], self.info, needed)
            except DataError as error:
                looked = any(one.kind == "open" for one in self.ledger.accesses)
                raise StudyError(f"{error}{_LOOKED if looked else ''}") from None

    def rehearse(self) -> None:
        """Build what depends on the records' shape, before a record is read or paid for.

        Raises:
            MocError: If something does not go with the shape, or the study is more than the budget
                of its data set has left.
        """
        self._require_sense()
        self._require_memory()
        self.ledger.require_room()
        for network in (*self._seen, self.training.network, self.teacher_network):
            build(network, self.info, seed=0)
        for measure in self.measures_of(self.training_suite).values():
            build(measure.training.network, self.info, seed=0)
        blank = torch.zeros(1, *self.info.shape)
        self.config.condense.decoder(blank)
        if self.planned_scores:
            self._weigh_score_noise()

    def _require_sense(self) -> None:
        """Refuse a delta that promises nothing, and a threat that leaves nothing as it was.

        Raises:
            StudyError: If delta is 1/N or more, or an L2 eps as large as any image, or if private
                records would be written to disk on their way to who scores on them.
        """
        if self.config.pays_for_scores and self.config.executor.on_disk:
            raise StudyError(
                f"[executor] kind = {self.config.executor.kind!r} writes what jobs work on to disk,"
                " and the validation records are private: name them in [data] public if they are "
                "not, or use kind = 'local' or 'ray'."
            )
        threat, numbers = self.config.threat, math.prod(self.info.shape)
        if threat.norm == "L2" and threat.eps >= numbers**0.5:
            raise StudyError(
                f"[threat] eps = {threat.eps:g} in L2 turns any record of {numbers} numbers in "
                f"[0, 1] into any other: less than {numbers**0.5:.3g} expected, and mostly far "
                "less. Divide grey levels by 255."
            )
        if (p := self.config.privacy) is None:
            return
        if p.delta * self.info.count >= 1:
            raise StudyError(
                f"[privacy] delta = {p.delta:g} promises nothing to {self.info.count} records: "
                "whoever publishes one of them at random keeps to it. Use less than "
                f"1/{self.info.count}, such as 1e-{len(str(self.info.count)) + 1}."
            )

    def _require_memory(self) -> None:
        """Refuse what reads single records of a part that is streamed.

        Raises:
            StudyError: With what to write instead.
        """
        config, more = self.config, "or raise memory of the source"
        for name in self.ledger.names:
            if name != "train" and self.ledger.streams(name):
                raise StudyError(
                    f"The {name} records, which are read one by one, are more than the source "
                    f"loads: ask for fewer in [data], {more}."
                )
        if not self.ledger.streams("train"):
            return
        if not config.evidence.released:
            raise StudyError(
                f"[evidence] kind = {config.evidence.kind!r} reads single records of T, which is "
                f"more than the source loads: use sums of it, kind = 'moments', {more}."
            )
        if config.privacy is None and not config.data.reference:
            raise StudyError(
                "Baselines are real records, and T is more than the source loads: set some apart, "
                f"such as reference = 1000 in [data], {more}."
            )

    @property
    def planned_scores(self) -> int:
        """How many scores are paid for; none where they are free."""
        # Two to spare: a kill between publishing a score and noting it uses that score up.
        return self.config.planned_trials + 2 if self.config.pays_for_scores else 0

    def _weigh_score_noise(self) -> None:
        """Say how much noise paid scores will carry, and refuse what could tell no sets apart."""
        config, planned = self.config, self.planned_scores
        assert config.privacy is not None
        networks, records = config.evaluate.replicates, self.ledger.info("validation").count
        bound = outcome_bound(self.measures_of(self.training_suite), networks)
        noise = config.privacy.score_noise(planned) * bound / records / math.sqrt(networks)
        words = f"scores on {records} private records carry noise of ±{100 * noise:.2g} points"
        if noise > _MOST_NOISE:
            raise StudyError(
                f"Nothing was read: {words} (one standard deviation), and {100 * _MOST_NOISE:.0f} "
                "is the most that can tell sets apart. Give [data] more validation records, "
                "[privacy] a larger share of `scoring`, or [search] fewer trials."
            )
        self.reporter.say(f"Paid {words} (one standard deviation).")

    # ---- evidence ----

    @cached_property
    def evidence(self) -> Evidence:
        """What condensation sees."""
        return self.config.evidence.open(self)

    @property
    def rungs(self) -> int:
        """Number of rungs; an open study has one."""
        return self.config.rung_count

    def bank(
        self,
        networks: Sequence[Architecture] | None,
        *,
        augmentation: bool,
        width: int | None = None,
        shift: int = 0,
    ) -> Bank:
        """Public networks for the study's records; by their shape if none are named."""
        return Bank(
            info=self.info,
            networks=tuple(networks or (default_network(self.info),)),
            seed=self.seed + shift,
            augmentation=Augmentation.dsa(self.info.mirrored) if augmentation else None,
            width=width,
            device=self.device,
        )

    @cached_property
    def ladder(self) -> Ladder | None:
        """The rungs of a private study; None in an open one."""
        p = self.config.privacy
        return None if p is None else p.ladder

    def moments(self) -> Moments:
        """Draw, or read back, the sums over T of every round."""
        return draw_rounds(self)

    def summing(self, networks: int) -> Workers | None:
        """Who sums T under so many networks, if it is more than this process."""
        executor = self.config.executor
        work = self.info.count * networks
        workers = workers_for(executor, device=self.device, work=work)
        if workers is not None and (where := executor.elsewhere):
            self.reporter.say(f"Records of T are sent to {where}, to be summed.")
        return workers

    def proxies(self, moments: Moments, settings: ProxyEvidence) -> list[Proxy]:
        """Make, or read back, one proxy for every rung.

        A proxy's file is named after the rung that it was made from and how, so that no set is
        ever condensed from the proxy of another release than the one in the ledger.
        """
        made = settings.model_dump_json() + self.config.condense.model_dump_json() + str(self.seed)
        paths = [
            self.folder / "proxies" / f"{one.index}-{self.made_from(one.index, made)}.safetensors"
            for one in moments.rungs
        ]
        try:
            sets = [load_set(path) for path in paths]
        except DataError:  # not made yet, or damaged
            with self.reporter.stage("a proxy from the release, for every rung") as progress:
                sets = make_proxies(
                    moments,
                    images_per_class=settings.images_per_class,
                    steps=settings.steps,
                    lr=settings.lr or self.config.condense.lr,
                    seed=self.seed,
                    progress=progress,
                )
            sets = [load_set(save_set(one, path)) for one, path in zip(sets, paths, strict=True)]
        return [Proxy(one, self.device) for one in sets]

    def made_from(self, rung: int, how: str, *, rounds: int | None = None) -> str:
        """A digest of a rung of the release, if there is one, and of how something was made.

        `rounds` says from how many; from all if left out.
        """
        digest = hashlib.sha256(how.encode())
        for number in range(len(self.config.rounds) if rounds is None else rounds):
            file = self.folder / f"release-{number}" / f"rung-{rung}.safetensors"
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    @cached_property
    def samples(self) -> BatchSource:
        """Samples of T, in an open study."""
        if RECORDS in self.evidence.gives:
            return self.evidence.source(0)
        return SamplesEvidence().open(self)

    # ---- losses ----

    @cached_property
    def losses(self) -> dict[str, Loss]:
        """The losses in S by objective; robust teachers are trained where one asks them."""
        return self._losses_of(self.config)

    def loss_context(self, recipe: StudyConfig) -> LossContext:
        """What the losses of a recipe of this study are built from."""
        return LossContext(
            evidence=self.evidence,
            threat=recipe.threat,
            discrepancy=recipe.discrepancy,
            teachers=lambda: self.teachers,
        )

    def _losses_of(self, recipe: StudyConfig) -> dict[str, Loss]:
        context = self.loss_context(recipe)
        made = {name: recipe.objectives[name].loss(context) for name in recipe.weighed}
        return {name: loss.to(self.device) for name, loss in made.items() if loss is not None}

    @property
    def teacher_network(self) -> Architecture:
        """Architecture of robust teachers."""
        return self.config.teacher.network or default_network(self.info)

    @cached_property
    def teachers(self) -> Ensembles:
        """Robust teachers for every rung, trained on what its readers may see."""
        return robust_teachers(self)

    # ---- measures ----

    @cached_property
    def training(self) -> Training:
        """How networks are trained on sets."""
        return self.config.evaluate.protocol.resolve(self.info, self.config.threat)

    @property
    def training_suite(self) -> Suite:
        """The protocol's own attacks."""
        return self.config.evaluate.protocol.suite

    @property
    def _seen(self) -> tuple[Architecture, ...]:
        """Architectures that condensation works with."""
        config = self.config
        named = [network for one in config.rounds for network in one.networks or ()]
        return (*config.evidence.seen, *named) or (default_network(self.info),)

    def measures_of(self, suite: Suite, training: Training | None = None) -> dict[str, Measure]:
        """What is counted on held-out records under these attacks, by objective.

        Networks are trained as the study has it, unless another training is given.
        """
        context = MeasureContext(
            info=self.info,
            training=training or self.training,
            suite=suite,
            threat=self.config.threat,
            seen=self._seen,
        )
        made = {name: one.measure(context) for name, one in self.config.objectives.items()}
        return {name: measure for name, measure in made.items() if measure is not None}

    @property
    def suites(self) -> dict[str, Suite]:
        """The attacks by kind of held-out records."""
        own = {name: suite_for(self.training_suite, r) for name, r in self.held_out.items()}
        asked = self.config.evaluate.report_suite
        return {**own, "test": asked} if asked and "test" in own else own

    @cached_property
    def held_out(self) -> dict[str, HeldOut]:
        """Held-out records: `validation` and, where nothing forbids it, `test` and `examined`."""
        config, e = self.config, self.config.evaluate
        if config.privacy is None or not config.pays_for_scores:
            validation = HeldOut(self.ledger, "validation")
        else:
            validation = HeldOut(
                self.ledger,
                "validation",
                planned=self.planned_scores,
                noise_multiplier=config.privacy.score_noise(self.planned_scores),
                tier=config.privacy.tier,
            )
        shown = config.privacy is None or self.ledger.is_public("test")
        if not shown or not e.report_replicates:
            return {"validation": validation}
        test = HeldOut(self.ledger, "test")
        return {
            "validation": validation,
            "test": test.first(e.report_records),
            "examined": test.first(_EXAMINED.get(e.protocol.kind, 200)),
        }

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor] | None:
        """Records and labels that baselines are selected from; None for no baselines."""
        name = "reference" if self.config.data.reference else "train"
        if self.config.privacy is not None and name not in public_parts(self.config):
            return None
        return reference_records(self.ledger, name)

    def complete(self, found: Scores, facts: Facts) -> dict[str, Estimate]:
        """Measured scores and those known exactly, in the order of the objectives.

        Without epsilon where it is infinite: real records and sets of open studies have none.
        """
        scores = {}
        for name, objective in self.config.objectives.items():
            if not objective.exact:
                scores[name] = found[name]
            elif math.isfinite(value := objective.value(facts)):
                scores[name] = Estimate(mean=value)
        return scores

    @cached_property
    def frame(self) -> dict[str, tuple[float, float]]:
        """The fixed frame of hypervolumes."""
        condense = self.config.condense
        numbers = math.prod(self.info.shape) + len(self.info.classes)
        context = FrameContext(
            info=self.info,
            epsilons=[self.ledger.epsilon(rung) for rung in range(self.rungs)]
            if self.config.privacy
            else (),
            largest_set=4 * numbers * condense.images_per_class * len(self.info.classes),
        )
        return dict(frame_of(self.config.objectives, context))

    def describe(self) -> str:
        """The protocol in words, with the attacks that really run on each kind of records."""
        suites, held_out = self.suites, self.held_out
        validation = suites["validation"]
        text = describe(self.training, validation, self.config.threat)
        text += (
            f" These attacks (suite {validation.kind!r}) ran on {len(held_out['validation'])} "
            "validation records"
        )
        if "test" not in held_out:
            return f"{text}, and none on test records."
        test = suites["test"]
        if test != validation:
            attacks = ", ".join(attack.label for attack in test.attacks)
            text += f"; others, {attacks} (suite {test.kind!r}),"
        else:
            text += " and, on fresh networks,"
        return f"{text} on {len(held_out['test'])} test records."

    def worker(self) -> WorkerContext:
        """What jobs need."""
        suites = self.suites
        return WorkerContext(
            evidence=self.evidence,
            recipes=tuple(
                Recipe(losses=self._losses_of(one), condense=one.condense)
                for one in self.config.recipes
            ),
            training=self.training,
            threat=self.config.threat,
            measures={name: self.measures_of(suite) for name, suite in suites.items()},
            held_out=self.held_out,
            device=self.device,
        )
