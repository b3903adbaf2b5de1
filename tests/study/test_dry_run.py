"""What can fail without T fails before it is read, with nothing spent and nothing left behind."""

from __future__ import annotations

import math
import re
import shutil
import stat
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from sklearn.datasets import load_digits
from tiny import PRIVATE, TINY

import moc.study.config  # noqa: F401 - loads every table and part
from moc.errors import MocError
from moc.parts import Part
from moc.privacy.access import Access, Budget
from moc.privacy.ledger import Ledger
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.dry_run import in_miniature, needed_space
from moc.study.reporter import Silent
from moc.study.run import check_study, run_study, start_afresh
from moc.study.settings import write_settings

pytestmark = pytest.mark.usefixtures("dry_runs")

PIXELS, LABELS = load_digits(return_X_y=True)
INF, NAN = math.inf, math.nan

_ADVERSARIAL = {**TINY["objectives"]["robust_error"]["adversarial"], "targets": "teachers"}
TEACHERS = {
    **PRIVATE,
    "objectives": {"error": {}, "robust_error": {"adversarial": _ADVERSARIAL}},
    "teacher": {**TINY["teacher"], "steps": 30},
}
"""A study that has robust teachers."""

WRONG: list[tuple[dict[str, Any], str, object, str]] = [
    # the study, a key of its file, a value that cannot work, the words
    (TINY, "seed", -1, "seed"),
    (TINY, "seed", 1.5, "seed"),
    (PRIVATE, "seed", 202611261425, "seed: .*less than"),
    (PRIVATE, "seed", 1700000000000, "seed: .*less than"),
    (PRIVATE, "device", "cuda:99", "device of this machine.*'cuda:99'"),
    (TINY, "device", "gpu", "device of this machine.*'gpu'"),
    (TINY, "device", "meta", "device of this machine.*'meta'"),
    (TINY, "device", "", "device of this machine"),
    (PRIVATE, "privacy.delta", 1e-15, "delta from 1e-12 to 0.1 expected, found 8 and 1e-15"),
    (PRIVATE, "privacy.delta", 0.9, "delta from 1e-12 to 0.1"),
    (PRIVATE, "privacy.delta", 1 / 300, r"promises nothing to 300 records.*such as 1e-4"),
    (PRIVATE, "privacy.delta", NAN, "delta: .*finite"),
    (PRIVATE, "privacy.epsilons", [1e6], "epsilon from 0.01 to 10000"),
    (PRIVATE, "privacy.epsilons", [1e-7], "epsilon from 0.01 to 10000"),
    (PRIVATE, "privacy.epsilons", [8.0, 7.9999999], "1 % or more below.*7.9999999"),
    (PRIVATE, "privacy.epsilons", [8.0, 8.0], "largest first"),
    (PRIVATE, "privacy.epsilons", [1.0, 8.0], "largest first"),
    (PRIVATE, "privacy.epsilons", [NAN], r"epsilons.0: .*finite number$"),
    (PRIVATE, "threat", {"eps": 8.0}, "Divide grey levels by 255"),
    (PRIVATE, "threat", {"eps": 8.0, "norm": "L2"}, "Divide grey levels by 255"),
    (TINY, "threat", {"eps": 128.0, "norm": "L2"}, "less than 8 expected.*grey levels"),
    (PRIVATE, "condense.lr", INF, "condense.lr: .*finite"),
    (TEACHERS, "teacher.lr", 1000.0, r"Nothing was read.*teacher diverged.*\(NaN\).*than 1000"),
    (PRIVATE, "teacher.lr", NAN, "teacher.lr: .*finite"),
    (TINY, "objectives.error.discrepancy", {"kind": "ridge-risk", "ridge": INF}, "finite"),
    (TINY, "condense.decoder", {"multi_formation": 16}, "at least as many pixels a side"),
    (PRIVATE, "evidence", {"kind": "proxy", "networks": ["resnet8-w7.5"]}, "network"),
    (
        PRIVATE,
        "rounds",
        [{"networks": ["convnet2-w8", "mlp2-w16"], "count": 2}],
        "need the same number of features",
    ),
]


def with_value(tables: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    first, *rest = key.split(".", 1)
    return {**tables, first: with_value(tables.get(first, {}), rest[0], value) if rest else value}


def refused(tables, folder) -> str:
    """The words of the refusal; empty if the study can run."""
    try:
        check_study(parse_config(tables, where="a.toml"), folder, reporter=Silent())
    except MocError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("base", "key", "value", "words"),
    WRONG,
    ids=[f"{key}-{value}-{base['name']}" for base, key, value, _ in WRONG],
)
def test_what_cannot_work_is_refused_before_t_is_read(tmp_path, base, key, value, words):
    said = refused(with_value(base, key, value), tmp_path / "study")
    assert re.search(words, said), said
    assert not (tmp_path / "study").exists()


def tables_of_floats() -> Iterator[type[BaseModel]]:
    """Every table and part that a study file can name."""
    waiting = [BaseModel]
    while waiting:
        for one in waiting.pop().__subclasses__():
            waiting.append(one)
            if one.__module__.startswith("moc.") and one.__name__ != "Description":
                yield one


def test_no_setting_takes_infinity_or_no_number():
    known = set(tables_of_floats())
    assert {Part, type(parse_config(TINY, where="test").condense)} <= known
    loose = [one.__name__ for one in known if one.model_config.get("allow_inf_nan") is not False]
    assert not loose, f"these tables take infinite values: {loose}"


@pytest.mark.parametrize("engine", ["sobol", "evolutionary", "bayesian"])
@pytest.mark.parametrize("base", [TINY, PRIVATE], ids=["open", "private"])
def test_a_sound_study_passes_whatever_its_engine_and_leaves_nothing(tmp_path, base, engine):
    tables = {**base, "search": {"trials": 2, "engine": engine}}
    assert refused(tables, tmp_path / "study") == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epsilons", [[0.01], [10_000.0]])
def test_the_ends_of_the_range_of_epsilon_work(tmp_path, epsilons):
    tables = with_value(PRIVATE, "privacy.epsilons", epsilons)
    assert refused(tables, tmp_path / "study") == ""


def test_the_largest_seed_works(tmp_path):
    assert refused({**PRIVATE, "seed": 2**32 - 1}, tmp_path / "study") == ""


def test_a_table_of_vectors_runs_with_nothing_but_defaults(tmp_path):
    np.savez(tmp_path / "d.npz", x=PIXELS / 16, y=LABELS)
    data = {**TINY["data"], "source": {"kind": "npz", "path": str(tmp_path / "d.npz")}}
    data["declared"] = {"count": len(LABELS), "classes": 10}
    tables = {"name": "t", "data": data, "privacy": {"epsilons": [8.0]}, "evidence": "proxy"}
    assert refused(tables, tmp_path / "study") == ""
    named = {**tables, "teacher": {"network": "convnet2-w8"}}
    assert "images" in refused(named, tmp_path / "study")


@pytest.mark.parametrize("base", [TINY, PRIVATE], ids=["open", "private"])
def test_a_study_that_failed_leaves_nothing_that_refuses_the_corrected_one(
    tmp_path, base, monkeypatch
):
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger"))
    broken = with_value(base, "condense.decoder", {"multi_formation": 16})
    broken = with_value(broken, "evidence.images_per_class", 600) if base is PRIVATE else broken
    (tmp_path / "study").mkdir(mode=0o755)
    with pytest.raises(MocError, match="smaller factor"):
        run_study(parse_config(broken, where="test"), tmp_path / "study")
    assert not (tmp_path / "ledger").exists()
    tables = {**base, "search": {"trials": 1, "batch": 1, "engine": "sobol"}}
    assert run_study(parse_config(tables, where="test"), tmp_path / "study").complete
    assert stat.S_IMODE((tmp_path / "study").stat().st_mode) == 0o700


def test_a_failure_inside_a_library_is_a_sentence_and_nothing_is_drawn(tmp_path, monkeypatch):
    from moc.study.closing import Closing

    def fails(self):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Closing, "_score_baselines", fails)
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger"))
    with pytest.raises(MocError, match=r"^Nothing was read or spent\..*\(1, 8, 8\).*mat1 and"):
        run_study(parse_config(PRIVATE, where="test"), tmp_path / "study")
    assert not list(tmp_path.iterdir())


def test_what_was_begun_is_not_tried_out_again(tmp_path, monkeypatch):
    tables = {**TINY, "search": {"trials": 1, "batch": 1, "engine": "sobol"}}
    config = parse_config(tables, where="test")
    run_study(config, tmp_path / "study")
    events = (tmp_path / "study" / "study.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "study" / "study.jsonl").write_text("".join(events[:-1]))
    tried = []
    monkeypatch.setattr("moc.study.run.dry_run", lambda *_: tried.append(1))
    assert run_study(config, tmp_path / "study").complete
    assert not tried


def test_a_miniature_keeps_what_is_done_and_does_it_once():
    config = parse_config(PRIVATE, where="test")
    small = in_miniature(config)
    assert (small.condense.steps, small.search.trials, small.teacher.steps) == (1, 1, 3)
    assert (small.evaluate.replicates, small.evaluate.protocol.epochs) == (1, 1)
    assert small.objectives == config.objectives
    assert small.search.engine == config.search.engine
    assert small.evaluate.protocol.network == config.evaluate.protocol.network
    assert [one.networks for one in small.rounds] == [one.networks for one in config.rounds]


def test_what_was_paid_for_and_never_drawn_refuses_no_other_settings(tmp_path):
    folder, config = tmp_path / "study", parse_config(PRIVATE, where="test")
    ledger = Ledger(Budget(epsilon=8.0), path=folder / "privacy.jsonl")
    access = Access(
        key="release/0", data="train", purpose="p", kind="gaussian", ladder=(1.0,), sensitivity=1.0
    )
    ledger.reserve(access)
    write_settings(config, folder)
    start_afresh(folder)
    assert not list(folder.glob("*.json*"))
    ledger = Ledger(Budget(epsilon=8.0), path=folder / "privacy.jsonl")
    ledger.reserve(access)
    ledger.begin("release/0")
    write_settings(config, folder)
    start_afresh(folder)
    assert len(list(folder.glob("*.json*"))) == 2, "noise may have been drawn: it counts"


@pytest.mark.parametrize("base", [TINY, PRIVATE], ids=["open", "private"])
def test_a_disk_that_is_nearly_full_is_refused(tmp_path, monkeypatch, base):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))
    said = refused(base, tmp_path / "study")
    assert re.search(r"^About \d+ MB of free disk expected at .*, found 5 MB", said), said


@pytest.mark.parametrize("name", ["tiny_open", "tiny_private"])
def test_a_study_writes_about_as_much_as_was_reckoned(request, name):
    study = request.getfixturevalue(name)
    kept = [p for p in study.folder.rglob("*.safetensors") if p.parent.name != "teachers"]
    written = sum(path.stat().st_size for path in kept)
    config = parse_config(study.config, where="test")
    context = StudyContext.try_out(config, study.folder, Silent())
    assert written < needed_space(context) < 20 * written
