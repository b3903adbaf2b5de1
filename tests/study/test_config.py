"""Study files: what is refused, and with which words."""

from pathlib import Path

import pytest

from moc.errors import StudyError
from moc.study.config import load_config
from moc.study.setup import planned_trials

STUDIES = Path(__file__).parents[2] / "studies"

MINIMAL = """
name = "toy"
[data]
source = "digits"
validation = 300
test = 300
"""


def write(tmp_path, text) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_study_file_that_ships_is_valid_under_every_profile(path):
    import tomllib

    profiles = tomllib.loads(path.read_text()).get("profile", {})
    for profile in [None, *profiles]:
        assert load_config(path, profile=profile).name


def test_the_default_study_has_three_rungs_or_more_and_at_least_24_trials():
    config = load_config(STUDIES / "digits.toml")
    assert config.privacy is not None
    assert len(config.privacy.epsilons) >= 3
    assert planned_trials(config) >= 24
    assert config.condense.per_class == 10


def test_without_a_privacy_table_a_study_is_open(tmp_path):
    assert load_config(write(tmp_path, MINIMAL)).privacy is None


def test_all_faults_are_reported_at_once_with_their_place(tmp_path):
    text = MINIMAL + "tset = 3\n[condense]\nsteps = -1\nlabels = 'fuzzy'\n"
    with pytest.raises(StudyError) as error:
        load_config(write(tmp_path, text))
    for place in ("data.tset", "condense.steps", "condense.labels"):
        assert place in str(error.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ("[privacy]\nepsilons = [1.0, 2.0]", "largest first"),
        ("[privacy]\nepsilons = [-1.0]", "positive"),
        ("[privacy]\nepsilons = [1.0]\n[objectives]\nadversarial = 'attack'", "private study"),
        (
            "[privacy]\nepsilons = [1.0]\n[objectives]\ngeneralization = 'ridge-risk'",
            "second moments",
        ),
        ("[privacy]\nepsilons = [1.0]\n[objectives]\nadversarial = 'curvature'", "private study"),
        ("[privacy]\nepsilons = [1.0]\n[condense]\npool = 4", "looks at records"),
        ("[objectives]\ntargets = 'teacher'", "only adversarial = 'attack'"),
        (
            "[objectives]\nadversarial = 'curvature'\ngeneralization = 'gradient-matching'",
            "fitted on S",
        ),
        (
            "[privacy]\nepsilons = [1.0]\n[objectives]\ngeneralization = 'gradient-matching'",
            "only moments of them",
        ),
        (
            "[privacy]\nepsilons = [1.0]\nevidence = 'proxy'\n"
            "[objectives]\nadversarial = 'release'",
            "reads none",
        ),
        ("[privacy]\nepsilons = [1.0]\nevidence = 'proxy'\nsecond = 0.5", "not made from"),
        ("[privacy]\nepsilons = [1.0]\nsecond = 0.995", "no share"),
        (
            "[privacy]\nepsilons = [1.0]\nevidence = 'proxy'\n[teacher]\nproxy_per_class = 9",
            "give it at least 10",
        ),
        ("[privacy]\nepsilons = [1.0]\nevidence = 'images'", "privacy.evidence"),
        ("[bank]\nviews = ['convnet2-w8']", "only evidence = 'proxy'"),
        ("[privacy]\nepsilons = [1.0]\n[bank]\npretrained = 'plain'", "networks are public"),
        ("[bank]\npretrained = 'plain'\nsteps = 3", "at most as many stages"),
        ("[bank]\nnetworks = ['resnet18']", "convnet3-w128"),
        ("[teacher]\nsource = 'dp-training'", "no .privacy. table"),
        ("[privacy]\nepsilons = [1.0]\n[teacher]\nsource = 'dp-training'", "nothing pays for it"),
        ("[privacy]\nepsilons = [1.0]\ntraining = 0.3", "only source = 'dp-training'"),
        ("[privacy]\nepsilons = [1.0]\ntraining = 1.0", "privacy.training"),
        (
            "[privacy]\nepsilons = [1.0]\ntraining = 0.3\n[teacher]\nsource = 'dp-training'",
            "needs `train` in .data.",
        ),
        ("[search]\nengine = 'magic'", "search.engine"),
        ("[evaluate]\nreport_suite = 'apgd'", "evaluate.report_suite"),
        ("[evaluate]\nreport_records = 0", "evaluate.report_records"),
    ],
)
def test_what_cannot_work_is_refused_in_words(tmp_path, tables, words):
    with pytest.raises(StudyError, match=words):
        load_config(write(tmp_path, MINIMAL + tables))


def test_a_profile_replaces_single_entries(tmp_path):
    text = MINIMAL + "[condense]\nsteps = 10\nlr = 0.5\n[profile.gpu.condense]\nsteps = 99\n"
    config = load_config(write(tmp_path, text), profile="gpu")
    assert (config.condense.steps, config.condense.lr) == (99, 0.5)
    assert load_config(write(tmp_path, text)).condense.steps == 10


def test_unknown_profiles_missing_files_and_broken_toml_are_named(tmp_path):
    with pytest.raises(StudyError, match="no profile 'tpu'"):
        load_config(write(tmp_path, MINIMAL), profile="tpu")
    with pytest.raises(StudyError, match="no study file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(StudyError, match="not a TOML file"):
        load_config(write(tmp_path, "name = "))
