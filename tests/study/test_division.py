"""How records are divided: what is public, what is declared, and that parts stay apart."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.data.vault import unseal
from moc.errors import DataError, MocError, StudyError
from moc.study.config import parse_config
from moc.study.division import describe_parts, parts_of, public_parts

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (90, 4, 5), dtype=np.uint8)
Y = np.arange(90) % 3
SIZES = {"validation": 20, "test": 15, "reference": 10}
PRIVATE = {
    "objectives": {"error": {}},
    "privacy": {"epsilons": [1.0]},
    "rounds": [{"networks": ["mlp1-w4"], "count": 1}],
}
DECLARED = {"count": 90, "classes": 3}


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "people.npz", x=X, y=Y)


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def config_of(path, *, private=False, **data):
    source = {"kind": "npz", "path": str(path)}
    table = {"source": source, **SIZES, **({"declared": DECLARED} if private else {}), **data}
    rest = PRIVATE if private else {"objectives": {"error": {}, "worst_class_error": {}}}
    return parse_config({"name": "toy", "data": table, **rest}, where="test")


def rows_of(data):
    records = unseal(data)
    return {(row.numpy().tobytes(), int(y)) for row, y in zip(records.x, records.y, strict=True)}


def contents(path, **options):
    return {name: rows_of(data) for name, data in parts_of(config_of(path, **options)).items()}


@given(st.permutations(range(90)), st.integers(0, 2**40))
@settings(max_examples=20)
def test_neither_the_studys_seed_nor_the_order_of_the_file_draws_another_division(
    tmp_path_factory, order, seed
):
    folder = tmp_path_factory.mktemp("data")
    first = contents(write(folder / "a.npz", x=X, y=Y))
    shuffled = config_of(write(folder / "b.npz", x=X[order], y=Y[order]))
    shuffled = shuffled.model_copy(update={"seed": seed})
    assert {name: rows_of(data) for name, data in parts_of(shuffled).items()} == first
    assert contents(folder / "a.npz", split_seed=1) != first


@given(st.integers(0, 89))
@settings(max_examples=20)
def test_a_record_that_is_taken_out_moves_no_more_than_one_across_each_border(
    tmp_path_factory, gone
):
    folder = tmp_path_factory.mktemp("data")
    before = contents(write(folder / "a.npz", x=X, y=Y))
    kept = np.arange(90) != gone
    after = contents(write(folder / "b.npz", x=X[kept], y=Y[kept]))
    missing = (X[gone : gone + 1].tobytes(), int(Y[gone]))
    for name in before:
        assert len(before[name] - after[name]) <= 1
    if missing in before["train"]:
        assert all(before[name] == after[name] for name in SIZES)
        assert before["train"] - after["train"] == {missing}


def test_nothing_is_public_unless_the_study_file_names_it(file):
    paid = {**PRIVATE, "privacy": {"epsilons": [1.0], "scoring": 0.5}}
    table = {"source": {"kind": "npz", "path": str(file)}, **SIZES, "declared": DECLARED}
    closed = parse_config({"name": "toy", "data": table, **paid}, where="test")
    assert public_parts(closed) == ()
    assert describe_parts(closed, parts_of(closed)).startswith(
        "Public records: none. Protected: train (45), reference (10), validation (20), test (15)."
    )
    named = config_of(file, private=True, public=["validation", "test"])
    words = describe_parts(named, parts_of(named))
    assert words == (
        "Public records: validation (20), test (15), as `public` in the study file says. "
        "Protected: train (45), reference (10). No reference records are public, so there are no "
        "baselines of real images."
    )
    assert "nothing is protected" in describe_parts(config_of(file), parts_of(config_of(file)))


def test_a_public_source_gives_every_part_but_t(file, tmp_path):
    other = RNG.integers(0, 256, (60, 4, 5), dtype=np.uint8)
    place = write(tmp_path / "public.npz", x=other, y=np.arange(60) % 3)
    public = {"kind": "npz", "path": str(place)}
    config = config_of(file, private=True, public_source=public)
    assert public_parts(config) == ("reference", "validation", "test")
    parts = contents(file, private=True, public_source=public)
    everything = {(row.tobytes(), k % 3) for k, row in enumerate(other)}
    assert len(parts["train"]) == 90
    assert all(parts[name] <= everything for name in SIZES)
    assert not parts["train"] & everything
    assert "of `public_source`" in describe_parts(config, parts_of(config))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_test": X[:20] * 1.0, "y_test": Y[:20]}, r"values in \[0, 1\]"),
        ({"x_test": X[:20], "y_test": Y[:19]}, "20 records but 19 labels"),
        ({"x_test": X[:20]}, "y_test is missing"),
        ({"x_test": X[:20].astype(np.int64), "y_test": Y[:20]}, "found int64"),
        ({"x_test": X[:20], "y_test": Y[:20] * 0}, "at least two classes"),
        ({"x_test": np.pad(X[:20], ((0, 0), (1, 1), (1, 1))), "y_test": Y[:20]}, "the test part"),
        ({"x_test": np.repeat(X[:20, ..., None], 3, 3), "y_test": Y[:20]}, "the test part"),
        ({"x_test": X[:20].reshape(20, 20), "y_test": Y[:20]}, "the test part"),
    ],
)
def test_a_test_part_that_cannot_be_used_is_refused_and_never_replaced(tmp_path, arrays, words):
    path = write(tmp_path / "d.npz", x_train=X, y_train=Y, **arrays)
    with pytest.raises(DataError, match=words):
        parts_of(config_of(path))


def twice(tmp_path, extra_labels):
    """T holds one record twice, and the test section one of T under the given label."""
    x = np.concatenate([X, X[:1]])
    return write(
        tmp_path / "d.npz",
        x_train=x,
        y_train=np.append(Y, Y[0]),
        x_test=np.concatenate([255 - X[:19], X[5:6]]),
        y_test=np.append(Y[:19], extra_labels),
    )


@pytest.mark.parametrize("label", [int(Y[5]), int(Y[5] + 1) % 3])
def test_copies_are_refused_or_dropped_or_kept_as_the_study_file_says(tmp_path, label):
    path = twice(tmp_path, label)
    sizes = {"validation": 5, "test": 20, "reference": 0}
    with pytest.raises(DataError, match=r"1 in train, 1 in test.*'drop'.*'keep'") as refused:
        parts_of(config_of(path, **sizes))
    assert "people" not in str(refused.value)
    kept = parts_of(config_of(path, **sizes, duplicates="keep"))
    assert (len(unseal(kept["train"]).y), len(kept["test"])) == (86, 20)
    config = config_of(path, **sizes, duplicates="drop")
    dropped = parts_of(config)
    assert len(unseal(dropped["train"]).y) == 85
    assert dropped["train"].info.count == 86, "N is declared: a place stays empty"
    assert dropped["test"].info.count == len(unseal(dropped["test"]).y) == 19
    images = [{x for x, _ in rows_of(data)} for data in dropped.values()]
    assert not images[0] & images[1]
    assert not images[0] & images[2]


def test_a_private_study_takes_no_fact_from_t_that_is_not_declared(file):
    public = {"public": ["validation"]}
    with pytest.raises(StudyError, match=r"count and classes off the records.*count = 1000"):
        parts_of(config_of(file, private=True, **public, declared={}))
    with pytest.raises(StudyError, match=r"its classes off the records"):
        parts_of(config_of(file, private=True, **public, declared={}, train=40))
    for declared, taken in (
        (DECLARED, ()),
        ({"taken": ["count", "classes"]}, ("count", "classes")),
        ({"taken": ["count"], "classes": ["a", "b", "c"]}, ("count",)),
    ):
        info = parts_of(config_of(file, private=True, **public, declared=declared))["train"].info
        assert info.taken == taken
        assert info.count == 45
    assert info.classes == ("a", "b", "c")
    open_study = parts_of(config_of(file))["train"].info
    assert (open_study.taken, open_study.name) == (("count", "classes"), "npz")


def test_declared_facts_replace_those_of_the_source(file):
    declared = {"name": "visits 2024", "classes": 3, "mean": 0.2, "std": 0.1}
    for part in parts_of(config_of(file, declared=declared)).values():
        assert (part.info.name, part.info.mean, part.info.std) == ("visits 2024", (0.2,), (0.1,))
        assert part.info.classes == ("0", "1", "2")


def test_a_declared_class_may_have_no_record(tmp_path):
    gap = write(tmp_path / "d.npz", x=X, y=np.where(Y == 1, 3, Y))
    assert parts_of(config_of(gap))["train"].info.classes == ("0", "2", "3")
    assert len(parts_of(config_of(gap, declared={"classes": 5}))["train"].info.classes) == 5


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"count": 91}, "count = 91 is not the number of records"),
        ({"classes": ["a", "b"]}, "labels of the 2 declared classes expected"),
        ({"mean": 2.0}, "declared.mean"),
        ({"std": 0.0}, "declared.std"),
        ({"std": float("inf")}, "declared.std"),
        ({"classes": 1}, "declared.classes"),
        ({"classes": ["a", "b", "a"]}, "two or more different names"),
        ({"taken": ["mean"]}, "declared.taken"),
        ({"name": "/home/people.npz"}, "declared.name"),
    ],
)
def test_declarations_that_do_not_fit_are_refused(file, declared, words):
    with pytest.raises(MocError, match=words):
        parts_of(config_of(file, declared=declared))


@pytest.mark.parametrize("source", ["digits"])
def test_built_in_benchmarks_need_no_declaration(source):
    data = {"source": source, **SIZES, "public": ["validation"]}
    config = parse_config({"name": "toy", "data": data, **PRIVATE}, where="test")
    assert parts_of(config)["train"].info.taken == ()
    assert not re.search("copies", describe_parts(config, parts_of(config)))


# A validation section of the source's own


def with_sections(path):
    """MedMNIST's form: 40 records to train on, 30 to validate, 20 to test."""
    cuts = {"train": slice(0, 40), "val": slice(40, 70), "test": slice(70, 90)}
    arrays = {f"{name}_images": X[rows] for name, rows in cuts.items()}
    return write(path, **arrays, **{f"{name}_labels": Y[rows, None] for name, rows in cuts.items()})


def test_validation_records_come_from_the_section_that_the_study_file_names(tmp_path):
    path = with_sections(tmp_path / "medical.npz")
    sections = {name: {row.tobytes() for row in X[40:70]} for name in ("validation",)}
    own = contents(path, validation_from="validation")
    assert len(own["train"]) == 40 - 10
    assert {row for row, _ in own["validation"]} < sections["validation"]
    assert len(own["validation"]) == 20
    cut = contents(path)
    assert len(cut["train"]) == 40 - 10 - 20
    assert not {row for row, _ in cut["validation"]} & sections["validation"]


def test_a_validation_section_that_is_not_there_is_refused(file):
    with pytest.raises(DataError, match="no validation section"):
        parts_of(config_of(file, validation_from="validation"))


def test_a_public_source_gives_its_own_validation_section(tmp_path):
    path = with_sections(tmp_path / "medical.npz")
    private = write(tmp_path / "t.npz", x=255 - X, y=Y)
    public = {"kind": "npz", "path": str(path)}
    options = {"public_source": public, "reference": 0, "validation_from": "validation"}
    found = contents(private, private=True, **options)
    assert {name: len(rows) for name, rows in found.items()} == {
        "train": 90,
        "validation": 20,
        "test": 15,
    }
