from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from moc.data import SOURCES
from moc.data.vault import unseal
from moc.errors import DataError

ROWS = """age,sex,smoker,id,label
20,f,True,901,sick
70,m,False,902,well
120,f,True,903,sick
10,m,True,904,well
"""
COLUMNS = {"age": [20, 120], "sex": ["f", "m"], "smoker": ["True"]}
X = [[0, 1, 0, 1], [0.5, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(ROWS)
    return path


def load(path, section="train", **settings):
    return SOURCES.make({"kind": "table", "path": path, **settings}).load(section)


def relaxed(**settings):
    return {"columns": {**COLUMNS, "smoker": ["True", "False"]}, **settings}


def test_columns_become_what_is_declared(file):
    data = load(file, columns={**COLUMNS, "smoker": ["True", "False"]})
    expected = [[*row[:4], 1 - row[3]] for row in X]
    np.testing.assert_allclose(unseal(data).x, expected, atol=1e-7)
    assert data.info.classes == ("sick", "well")
    assert unseal(data).y.tolist() == [0, 1, 0, 1]


def test_all_ways_to_write_a_table_are_one_table(file, tmp_path):
    frame = pd.read_csv(file)
    assert frame["smoker"].dtype == bool
    ways = {
        "people.parquet": frame.to_parquet,
        "people.txt": lambda path: frame.to_parquet(path),  # by content, not by name
        "people.csv.gz": lambda path: path.write_bytes(gzip.compress(ROWS.encode())),
        "people.tsv": lambda path: frame.to_csv(path, sep="\t", index=False),
    }
    first = load(file, **relaxed())
    for name, write in ways.items():
        write(tmp_path / name)
        more = {"separator": "\t"} if name.endswith("tsv") else {}
        assert load(tmp_path / name, **relaxed(**more)).fingerprint() == first.fingerprint()


def test_without_declared_columns_all_are_numbers_in_0_to_1(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("a,b,label\n0.5,1,7\n0,0.25,3\n")
    data = load(path)
    np.testing.assert_array_equal(unseal(data).x, [[0.5, 1], [0, 0.25]])
    assert (data.info.classes, unseal(data).y.tolist()) == (("3", "7"), [1, 0])


def test_a_second_file_is_the_test_section(file, tmp_path):
    (tmp_path / "test.csv").write_text(ROWS.replace("70,m", "20,f"))
    settings = relaxed(test=tmp_path / "test.csv")
    test = load(file, "test", **settings)
    np.testing.assert_array_equal(unseal(test).x[1], [0, 1, 0, 0, 1])
    assert not SOURCES.make({"kind": "table", "path": file}).has_test


def test_missing_values_follow_the_declared_rule(file):
    file.write_text(ROWS.replace("70,m", ","))
    with pytest.raises(DataError, match=r"column 'age' lacks values.*missing = \"middle\""):
        load(file, **relaxed())
    data = load(file, **relaxed(missing="middle"))
    np.testing.assert_array_equal(unseal(data).x[1], [0.5, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("old", "new", "settings", "message"),
    [
        ("", "", {"label": "outcome"}, "a column 'outcome' expected, found age, sex, .*label = "),
        ("", "", {"columns": {"height": [0, 1]}}, "a column 'height' expected"),
        ("", "", {"columns": {"age": [5, 5]}}, r"bounds \[LOW, HIGH\] expected"),
        ("", "", {"columns": {"sex": [0, 1]}}, "'sex': numbers expected, found words"),
        ("", "", {}, r"'age': numbers in \[0, 1\] expected, found others"),
        ("", "", {"columns": {"sex": ["f"]}}, "only the declared words expected"),
        ("70,", "old,", {"columns": {"age": [0, 1]}}, "'age': numbers expected, found words"),
        ("70,", "inf,", {}, "found others"),
        ("sick\n70", "\n70", {}, "a label in every row"),
        (ROWS, "", {}, "cannot be read as a CSV or Parquet table"),
        (ROWS, "PAR1 and no more", {}, "cannot be read as a CSV or Parquet table"),
        (ROWS, "label\n1\n2\n", {}, "a column beside 'label' expected"),
    ],
)
def test_what_was_not_declared_is_refused_in_one_sentence(file, old, new, settings, message):
    file.write_text(ROWS.replace(old, new) if old else ROWS)
    with pytest.raises(DataError, match=message) as refused:
        load(file, **settings)
    assert "904" not in str(refused.value)


def test_numbers_outside_their_bounds_count_as_the_bound(file):
    data = load(file, columns={"age": [20, 70]})
    np.testing.assert_allclose(unseal(data).x[:, 0], [0, 1, 1, 0])
