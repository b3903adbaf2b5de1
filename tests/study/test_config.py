"""Study files: what is refused, and with which words."""

import tomllib
from pathlib import Path

import pytest

from moc.errors import StudyError
from moc.study.config import load_config, parse_config

STUDIES = Path(__file__).parents[2] / "studies"

MINIMAL = """
name = "toy"
[data]
source = "digits"
validation = 300
test = 300
"""
PUBLIC = MINIMAL + "public = ['validation']\n"
PRIVATE = PUBLIC + "[privacy]\nepsilons = [1.0]\n"


def write(tmp_path, text) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_study_file_that_ships_is_valid_under_every_profile(path):
    profiles = tomllib.loads(path.read_text()).get("profile", {})
    for profile in [None, *profiles]:
        config = load_config(path, profile=profile)
        again = parse_config(config.model_dump(mode="json"), where="its own dump")
        assert again == config


def test_the_default_study_has_three_rungs_or_more_and_at_least_20_trials():
    config = load_config(STUDIES / "digits.toml")
    assert config.privacy is not None
    assert len(config.privacy.epsilons) >= 3
    assert config.planned_trials >= 20
    assert config.condense.images_per_class == 10


def test_without_a_privacy_table_a_study_is_open_and_samples(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert config.privacy is None
    assert config.evidence.kind == "samples"
    assert list(config.objectives) == ["error", "robust_error"]


def test_a_private_study_minimises_epsilon_whether_or_not_its_file_says_so(tmp_path):
    text = PRIVATE + "[evidence]\nkind = 'proxy'\n[objectives.error]\n[objectives.robust_error]\n"
    assert list(load_config(write(tmp_path, text)).objectives) == [
        "error",
        "robust_error",
        "epsilon",
    ]


def test_an_objective_may_have_a_name_of_its_own(tmp_path):
    text = MINIMAL + (
        "[objectives.error]\n[objectives.small_network]\nkind = 'transfer_error'\n"
        "network = 'mlp1-w16'\n"
    )
    objectives = load_config(write(tmp_path, text)).objectives
    assert objectives["small_network"].kind == "transfer_error"


def test_all_faults_are_reported_at_once_with_their_place(tmp_path):
    text = MINIMAL + "tset = 3\n[condense]\nsteps = -1\nlabels = 'fuzzy'\n"
    with pytest.raises(StudyError) as error:
        load_config(write(tmp_path, text))
    for place in ("data.tset", "condense.steps", "condense.labels"):
        assert place in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "[privacy]\nepsilons = [1.0, 2.0]", "largest first"),
        (MINIMAL + "[privacy]\nepsilons = [-1.0]", "positive"),
        (MINIMAL + "[privacy]\nepsilons = [1.0]", "public = .'validation'.*scoring = 0.2"),
        (PRIVATE + "scoring = 0.2", "they cost nothing, so remove one of the two"),
        (PRIVATE, r"objectives.robust_error.* needs records.*kind = 'proxy'"),
        (PRIVATE + "[objectives.error]\ndiscrepancy = 'ridge-risk'", "needs second-moments"),
        (
            PRIVATE + "[objectives.error]\ndiscrepancy = 'gradient-matching'\n"
            "[objectives.stored_bytes]",
            "needs records",
        ),
        (
            PRIVATE + "[objectives.error]\n[condense.pool]\nsize = 4",
            "`pool` in .condense. needs records",
        ),
        (PRIVATE + "[evidence]\nkind = 'samples'", "for open studies"),
        (
            MINIMAL + "[evidence]\nkind = 'proxy'",
            "for private studies.*'samples' or 'moments'",
        ),
        (MINIMAL + "[[rounds]]\ncount = 3", "does not read"),
        (PRIVATE + "[evidence]\nkind = 'proxy'\nimages_per_class = 9", "give it at least 10"),
        (
            PRIVATE + "[evidence]\nkind = 'proxy'\n[[rounds]]\nshare = 0.5",
            "a sum of 1 expected",
        ),
        (
            PRIVATE + "[evidence]\nkind = 'proxy'\n"
            "[[rounds]]\nstatistics = ['class-means', {kind = 'second-moments', weight = 0.5}]",
            "not made from",
        ),
        (
            PRIVATE + "[evidence]\nkind = 'proxy'\n[[rounds]]\nshare = 0.5\n"
            "[[rounds]]\nshare = 0.5\nstatistics = ['class-counts']",
            "made from class means under the networks of every round",
        ),
        (
            PRIVATE + "[evidence]\nkind = 'moments'\n[objectives.error]\n"
            "discrepancy = {kind = 'matching', statistic = 'class-means'}\n"
            "[objectives.stored_bytes]\n[[rounds]]\nshare = 0.5\n"
            "[[rounds]]\nshare = 0.5\nstatistics = ['fourier']",
            "needs class-means, which not every round releases",
        ),
        (
            PRIVATE + "[evidence]\nkind = 'proxy'\n[[rounds]]\nlearned = {}",
            "nothing to learn from",
        ),
        (
            PRIVATE + "[evidence]\nkind = 'moments'\n[objectives.error]\n"
            "discrepancy = {kind = 'matching', statistic = 'fourier'}\n[objectives.stored_bytes]\n"
            "[[rounds]]\nshare = 0.5\nstatistics = ['fourier']\n"
            "[[rounds]]\nshare = 0.5\nstatistics = ['fourier']\nlearned = {}",
            "learn from class means",
        ),
        (PRIVATE + "[evidence]\nkind = 'images'", "'samples', 'moments', 'proxy'"),
        (MINIMAL + "[objectives.epsilon]\n[objectives.error]", "budget of a private study"),
        (MINIMAL + "[objectives.error]", "Two to six objectives"),
        (MINIMAL + "[objectives.stored_bytes]\n[objectives.transfer_error]", "condensed for"),
        (MINIMAL + "[objectives.beauty]\n[objectives.error]", "'calibration_error'"),
        (MINIMAL + "[objectives.error]\nridge = 3\n[objectives.robust_error]", "error.ridge"),
        (
            MINIMAL + "[objectives.error]\ndiscrepancy = 'gradient-matching'\n"
            "[objectives.robust_error]\nadversarial = 'curvature'",
            "fitted on S",
        ),
        (MINIMAL + "[evidence]\nkind = 'samples'\nnetworks = ['resnet18']", "convnet3-w128"),
        (MINIMAL + "[search]\nengine = 'magic'", "search.engine.*'bayesian'"),
        (MINIMAL + "[search]\nengine = {kind = 'evolutionary', population = 2}", "population"),
        (MINIMAL + "[evaluate]\nreport_suite = 'apgd'", "evaluate.report_suite"),
        (MINIMAL + "[evaluate]\nreport_records = 0", "evaluate.report_records"),
        (MINIMAL + "[threat]\neps = 8", "Divide grey levels by 255"),
        (MINIMAL.replace("digits", "csv"), "data.source.*'digits'"),
        ("seed = -1\n" + MINIMAL, "seed"),
        ("seed = 17961241243215124\n" + MINIMAL, "seed"),
    ],
)
def test_what_cannot_work_is_refused_in_words(tmp_path, text, words):
    with pytest.raises(StudyError, match=words):
        load_config(write(tmp_path, text))


def test_a_profile_replaces_single_entries_and_whole_parts_of_another_kind(tmp_path):
    text = MINIMAL + (
        "[condense]\nsteps = 10\nlr = 0.5\n[search.engine]\nkind = 'bayesian'\ninitial = 3\n"
        "[profile.gpu.condense]\nsteps = 99\n"
        "[profile.gpu.search.engine]\nkind = 'evolutionary'\nalgorithm = 'nsga2'\n"
    )
    config = load_config(write(tmp_path, text), profile="gpu")
    assert (config.condense.steps, config.condense.lr) == (99, 0.5)
    assert config.search.engine.kind == "evolutionary"
    assert load_config(write(tmp_path, text)).condense.steps == 10


def test_unknown_profiles_missing_files_and_broken_toml_are_named(tmp_path):
    with pytest.raises(StudyError, match="no profile 'tpu'"):
        load_config(write(tmp_path, MINIMAL), profile="tpu")
    with pytest.raises(StudyError, match="no study file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(StudyError, match="not a TOML file"):
        load_config(write(tmp_path, "name = "))


# Paths


def test_paths_are_relative_to_the_folder_of_the_study_file(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    source = "source = {kind = 'table', path = 'a.csv', test = '../b.csv'}\n"
    public = "public_source = {kind = 'npz', path = '/c.npz'}\n"
    text = MINIMAL.replace('source = "digits"\n', source)
    text += (
        public
        + "[evidence]\nkind = 'proxy'\n[privacy]\nepsilons = [1.0]\nledger = 'ledger.jsonl'\n"
    )
    for path in (write(home, text), Path("../home/study.toml")):
        config = load_config(path)
        found = config.data.source
        assert found.path.resolve() == home / "a.csv"
        assert found.path.is_absolute()
        assert found.test.resolve() == tmp_path / "b.csv"
        assert config.data.public_source.path == Path("/c.npz")
        assert config.privacy.ledger.resolve() == home / "ledger.jsonl"
        assert parse_config(config.model_dump(mode="json"), where="its dump") == config
