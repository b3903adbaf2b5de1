"""Jobs by submitit, on this machine in place of Slurm."""

import importlib.util
import sys

import pytest
from tiny import PRIVATE

from moc.errors import StudyError
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.executors import EXECUTORS
from moc.study.reporter import Silent
from moc.testing.executors import ExecutorContract, Square, WorkersContract, _Context, results_of

if importlib.util.find_spec("submitit") is None:
    pytest.skip("pip install 'moc-condensation[slurm]'", allow_module_level=True)


def make(context, folder, *, workers=2, time_limit=None):
    table = {"kind": "slurm", "cluster": "local", "folder": folder}
    return EXECUTORS.make({**table, "workers": workers, "time_limit": time_limit}).start(context)


@pytest.mark.slow  # each job imports torch anew
class TestSlurmContract(ExecutorContract):
    @pytest.fixture(scope="class")
    def executor(self, tmp_path_factory):
        made = make(_Context(), tmp_path_factory.mktemp("jobs"), workers=2)
        yield made
        made.close()


@pytest.mark.slow
class TestSlurmThatIsLost(WorkersContract):
    limit = 30.0

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path / "jobs"

    def make(self, context, *, workers=2, time_limit=None):
        return make(context, self.folder, workers=workers, time_limit=time_limit)


def test_its_folder_is_its_owners_alone_and_goes_with_it(tmp_path):
    executor = make(_Context(), tmp_path / "jobs")
    (own,) = (tmp_path / "jobs").iterdir()
    assert own.stat().st_mode & 0o077 == 0
    jobs = [Square(key="one", number=3), Square(key="two", number=2)]
    assert results_of(executor, jobs) == {"one": 9, "two": 4}
    assert not own.exists()


def test_private_held_out_records_are_not_written_to_disk(tmp_path):
    table = {"kind": "slurm", "cluster": "local", "folder": tmp_path}
    data = {**PRIVATE["data"], "public": ["reference", "test"]}
    privacy = {"epsilons": [8.0], "scoring": 0.2}
    tables = {**PRIVATE, "executor": table, "data": data, "privacy": privacy}
    config = parse_config(tables, where="test")
    with pytest.raises(StudyError, match="writes what jobs work on to disk"):
        StudyContext.load(config, tmp_path / "study", Silent())


def test_without_submitit_it_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(StudyError, match=r"pip install 'moc-condensation\[slurm\]'"):
        make(_Context(), tmp_path)
