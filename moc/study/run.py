"""Run a study: anchors, search, baselines, report; kill it anywhere and run it again."""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from moc.condense.loop import Task, condense
from moc.condense.scalarise import Normalisation
from moc.data.storage import save_set
from moc.errors import StudyError
from moc.search import Engine, make_engine
from moc.search.laddered import LadderedSearch
from moc.search.space import SearchSpace
from moc.study.closing import examine_front, report_front, score_baselines
from moc.study.config import parse_config
from moc.study.folder import read_study, read_trials, scores_to_json, weighting_from_json
from moc.study.ledger import StudyLedger
from moc.study.records import set_path, trial_name
from moc.study.reporter import Reporter, Silent
from moc.study.scorer import Scorer
from moc.study.setup import Materials, prepare, rungs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from moc.condense.loop import Condensed
    from moc.search.space import Weighting
    from moc.study.config import StudyConfig
    from moc.study.records import StudyRecord


def run_study(
    config: StudyConfig,
    folder: Path,
    *,
    reporter: Reporter | None = None,
    on_batch: Callable[[StudyRecord], None] | None = None,
) -> StudyRecord:
    """Run a study, or take up the one in `folder` where it was left.

    Args:
        config: A validated study file.
        folder: Where everything is kept; must hold no other study.
        reporter: Told about progress.
        on_batch: Called with the study so far after every batch of trials and at the end.

    Returns:
        The finished study.

    Raises:
        StudyError: If the folder holds a study of other settings, or another process runs it.
    """
    reporter = reporter or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), threads_of(config):
        _settle(config, folder)
        if StudyLedger(folder / "study.jsonl").find("finished") is None:
            run = _Run(config, folder, prepare(config, folder, reporter), reporter)
            try:
                run.all(on_batch)
            finally:
                run.scorer.close()
        study = read_study(folder)
        if on_batch is not None:
            on_batch(study)
        return study


class _Run:
    """A study while it runs. Everything that matters is in the ledger; the rest is derived."""

    def __init__(
        self, config: StudyConfig, folder: Path, materials: Materials, reporter: Reporter
    ) -> None:
        self.config, self.folder, self.materials = config, folder, materials
        self.reporter = reporter
        self.ledger = StudyLedger(folder / "study.jsonl")
        rungs = range(len(materials.evidence.epsilons))
        charged = [materials.ledger.epsilon(rung) for rung in rungs]
        self.space = SearchSpace(epsilons=materials.evidence.epsilons)
        self.engine = _make_search(config, self.space)
        materials.validation.already_published(len(self.ledger.all("scored")))
        self.scorer = Scorer(config, folder, materials, reporter)
        if self.ledger.find("started") is None:
            classes = len(materials.evidence.info.classes)
            protocol = self.scorer.describe()
            self.ledger.append("started", classes=classes, epsilons=charged, protocol=protocol)

    def all(self, on_batch: Callable[[StudyRecord], None] | None) -> None:
        """Every batch that is not finished yet, then baselines and report."""
        for number, size in enumerate(self._batches()):
            rows = self._ask(number, size)
            self._condense(number, rows)
            self._evaluate(rows)
            self._tell(rows)
            study = read_study(self.folder)
            self.reporter.say(_batch_line(study))
            if on_batch is not None:
                on_batch(study)
        parts = self.config, self.folder, self.ledger, self.materials, self.scorer
        score_baselines(*parts)
        report_front(self.folder, self.ledger, self.scorer)
        examine_front(*parts, self.reporter)
        self.ledger.append("finished")

    def _batches(self) -> list[int]:
        """Sizes: the anchors, then the search's trials."""
        trials, batch = self.config.search.trials, self.config.search.batch
        sizes = [min(batch, trials - i) for i in range(0, trials, batch)]
        return [2 * rungs_of(self.config), *sizes]

    def _ask(self, number: int, size: int) -> list[dict[str, Any]]:
        """The trials of a batch, as asked now or before."""
        event = self.ledger.find("asked", batch=number)
        if event is not None:
            if number > 0:
                self.engine.replay(
                    [weighting_from_json(row["weighting"]) for row in event["trials"]]
                )
            return event["trials"]
        weightings = self._anchors() if number == 0 else self.engine.ask(size)
        first = sum(len(e["trials"]) for e in self.ledger.all("asked"))
        rows = [
            {
                "number": first + i,
                "kind": "anchor" if number == 0 else "search",
                "weighting": weighting.values(),
                "rung": self._rung_epsilon(weighting),
            }
            for i, weighting in enumerate(weightings)
        ]
        return self.ledger.append("asked", batch=number, trials=rows)["trials"]

    def _anchors(self) -> list[Weighting]:
        """Each discrepancy alone, on every rung."""
        rungs = range(rungs_of(self.config))
        return [self.space.on_rung(r, rung) for rung in rungs for r in (0.0, 1.0)]

    def _rung_epsilon(self, weighting: Weighting) -> float | None:
        epsilons = self.space.epsilons
        return epsilons[self._rung_index(weighting)] if epsilons else None

    def _rung_index(self, weighting: Weighting) -> int:
        return weighting.rung(self.space.epsilons) if self.space.epsilons else 0

    def _condense(self, number: int, rows: list[dict[str, Any]]) -> None:
        """Condense a batch; all of it or, after a kill in the middle, all of it again."""
        if self.ledger.find("condensed", batch=number) is not None:
            return
        tasks = [
            Task(robust_share=w.robust_share, rung=self._rung_index(w), seed=self.config.seed)
            for w in (weighting_from_json(row["weighting"]) for row in rows)
        ]
        start = time.perf_counter()
        with self.reporter.stage(f"condensing {len(rows)} sets together") as progress:
            condensed = condense(
                tasks,
                evidence=self.materials.evidence,
                objectives=self.materials.objectives,
                settings=self.materials.settings,
                normalisation=self._normalisation() if number > 0 else None,
                progress=progress,
            )
        seconds = (time.perf_counter() - start) / len(rows)
        made = [self._store(row, one, seconds) for row, one in zip(rows, condensed, strict=True)]
        self.ledger.append("condensed", batch=number, trials=made)

    def _store(self, row: dict[str, Any], one: Condensed, seconds: float) -> dict[str, Any]:
        path = set_path(trial_name(row["number"]))
        save_set(one.synthetic, self.folder / path)
        return {"number": row["number"], "path": path, "losses": one.losses[:2], "seconds": seconds}

    def _normalisation(self) -> Normalisation:
        """The fixed (ideal, nadir) of every rung, from the anchors."""
        rows = self.ledger.all("condensed", batch=0)[0]["trials"]
        pairs = [rows[i : i + 2] for i in range(0, len(rows), 2)]
        clean = [(a["losses"][0], b["losses"][0]) for a, b in pairs]
        robust = [(b["losses"][1], a["losses"][1]) for a, b in pairs]
        ideal = tuple((c[0], r[0]) for c, r in zip(clean, robust, strict=True))
        nadir = tuple((c[1], r[1]) for c, r in zip(clean, robust, strict=True))
        return Normalisation(ideal=ideal, nadir=nadir)

    def _evaluate(self, rows: list[dict[str, Any]]) -> None:
        """Score the trials of a batch that have no score yet."""
        missing = {
            trial_name(row["number"]): row
            for row in rows
            if self.ledger.find("scored", trial=row["number"]) is None
        }
        title = f"scoring {len(missing)} trials"
        for name, measured, seconds in self.scorer.measure(list(missing), "validation", title):
            row = missing[name]
            scores = scores_to_json(replace(measured, epsilon=self._epsilon(row)))
            self.ledger.append("scored", trial=row["number"], scores=scores, seconds=seconds)

    def _epsilon(self, row: dict[str, Any]) -> float:
        """What the privacy ledger charges for the rung that a trial read."""
        weighting = weighting_from_json(row["weighting"])
        return self.materials.ledger.epsilon(self._rung_index(weighting))

    def _tell(self, rows: list[dict[str, Any]]) -> None:
        """Tell the engine, in the order of the trials whatever order they finished in."""
        numbers = {row["number"] for row in rows}
        for trial in read_trials(self.ledger):
            if trial.number in numbers:
                self.engine.tell(trial.weighting, trial.scores.values(), trial.scores.errors())


def _make_search(config: StudyConfig, space: SearchSpace) -> Engine | LadderedSearch:
    """One engine for an open study, one for every rung of a private one."""
    name, seed = config.search.engine, config.seed
    settings = {"initial": config.search.initial} if name == "bayesian" else {}
    if space.epsilons:
        return LadderedSearch(name, space, seed=seed, **settings)
    return make_engine(name, space, seed, **settings)


def _batch_line(study: StudyRecord) -> str:
    return (
        f"{len(study.trials)} trials, {len(study.front)} on the front, "
        f"hypervolume {study.hypervolume[-1]:.3f}"
    )


def _settle(config: StudyConfig, folder: Path) -> None:
    """Write the settings, or check that the folder's are the same."""
    settings = config.model_dump(mode="json")
    path = folder / "config.json"
    if not path.exists():
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    known = json.loads(path.read_text(encoding="utf-8"))
    known = {**known, **_with_new_options(known, path)}
    changed = sorted(key for key in settings if settings[key] != known.get(key))
    if changed:
        raise StudyError(
            f"{folder} holds a study with other settings (they differ in: {', '.join(changed)}). "
            "A study is never continued under new settings: give it another name, or remove the "
            "folder (its privacy budget stays spent)."
        )


def _with_new_options(known: dict[str, Any], path: Path) -> dict[str, Any]:
    """Stored settings with the defaults of options that are newer than they."""
    try:
        return parse_config(known, where=str(path)).model_dump(mode="json")
    except StudyError:
        return {}


@contextmanager
def threads_of(config: StudyConfig) -> Iterator[None]:
    """Threads of this process: one where images are so small that more only get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second process out; the lock goes with the process, however it ends."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"Another process is running the study in {folder}.") from None
        yield
