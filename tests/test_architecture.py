"""The shape of moc, read off its source: who may reach what, in which order, and how big it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from architecture import ROOT, STAGES, Module, modules

MODULES = modules()


def importers(*packages: str) -> list[tuple[str, str]]:
    """(module of moc, place) of every import of these packages or anything in them."""
    return [
        (module.name, module.at(line))
        for module in MODULES
        for target, name, line in module.imports
        for package in packages
        if f"{target}.{name}.".startswith(f"{package}.")
    ]


def calls(module: Module) -> list[tuple[str, int]]:
    """(dotted name, line) of every call."""
    return [
        (ast.unparse(node.func), node.lineno)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
    ]


def test_only_the_vault_and_the_ledger_open_sealed_records():
    wrong = [
        module.at(node.lineno)
        for module in MODULES
        if module.name not in ("data.vault", "privacy.ledger")
        for node in ast.walk(module.tree)
        if getattr(node, "id", getattr(node, "attr", getattr(node, "name", "")))
        in ("unseal", "_VAULT")
    ]
    assert not wrong, f"`unseal` used outside data/vault.py and privacy/ledger.py: {wrong}"


def test_only_those_who_sum_count_or_sample_records_know_their_type():
    found = {name for name, _ in importers("moc.data.vault.Records")}
    found -= {"audit.inspect"}  # which counts them for their owner
    assert found == {"privacy.ledger", "privacy.collect", "privacy.isolation"} | {
        "privacy.shards",
        "data.streamed",
        "audit.canary",
    }


def test_only_the_privacy_stage_and_samples_read_through_the_ledger():
    readers = {
        module.name
        for module in MODULES
        for name, _ in calls(module)
        if name.lower().endswith("ledger.read")
    }
    allowed = {"privacy.release", "privacy.held_out", "evidence.samples", "audit.subject"}
    allowed |= {"audit.inspect"}  # by the owner, and in no study
    assert readers == allowed, "`Ledger.read` is called elsewhere, or no longer called"


def test_nobody_looks_into_what_holds_records():
    """Private attributes of the classes that keep records stay in their files."""
    hidden = {"_records", "_owned", "_x", "_y", "_sums"}
    wrong = [
        f"{module.at(node.lineno)} {node.attr}"
        for module in MODULES
        if module.stage not in ("privacy", "evidence", "data")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in hidden
        and ast.unparse(node.value) != "self"
    ]
    assert not wrong, f"an attribute that holds records of T read elsewhere: {wrong}"


def test_only_the_ledgers_module_writes_privacy_events():
    wrong = importers("moc.privacy.journal")
    assert [name for name, _ in wrong] == ["privacy.ledger"]


def test_what_evidence_is_is_never_asked_by_its_class():
    classes = {"Samples", "Moments", "Proxies", "RecordEvidence", "SamplesEvidence"}
    classes |= {"MomentsEvidence", "MomentView", "RecordView"}
    wrong = [
        f"{module.at(line)}"
        for module in MODULES
        for name, line in calls(module)
        if name == "isinstance"
        and any(kind in module.source.splitlines()[line - 1] for kind in classes)
    ]
    assert not wrong, f"ask evidence what it gives: {wrong}"


@pytest.mark.parametrize(
    ("packages", "place"),
    [
        (("opacus.accountants",), "privacy.accountant"),
        (("opendp",), "privacy.noise"),
        (("secrets",), "privacy.noise"),
        (("moc.audit.subject",), "audit.repeat"),  # reads T without noise, in no study
        (("torchattacks",), "attacks"),
        (("mlflow",), "views.mlflow"),
        (("botorch", "gpytorch"), "search.engines._botorch"),
        (("pymoo",), "search.engines.evolutionary"),
        (("moocore",), "search.front"),
        (("plotly", "matplotlib"), "views"),
        (("typer",), "cli+commands.register"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_an_engine_is_imported_in_one_place(packages, place):
    found = importers(*packages)
    assert found, f"nobody imports {packages}: remove it from this test and from pyproject.toml"
    places = tuple(f"{one}." for one in place.split("+"))
    wrong = [where for name, where in found if not f"{name}.".startswith(places)]
    assert not wrong, f"{' or '.join(packages)} imported outside moc/{place}: {wrong}"


def test_heavy_engines_are_loaded_when_used():
    """What every command imports loads none of the engines that only some commands need."""
    heavy = ("mlflow", "botorch", "gpytorch", "pymoo", "plotly", "matplotlib", "sklearn", "opendp")
    heavy += ("ray", "submitit", "datasets")
    program = (
        "import sys, moc.cli, moc.study.run, moc.views.base;"
        "from moc.search.engines import ENGINES; from moc.views.base import VIEWS;"
        "from moc.study.executors import EXECUTORS;"
        "ENGINES.parts, VIEWS.parts, EXECUTORS.parts;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", (
        f"import these where they are used: {done.stdout}{done.stderr}"
    )


def test_stages_import_only_from_themselves_and_before():
    wrong = []
    for module in MODULES:
        if not module.name:
            continue
        assert module.stage in STAGES, f"{module.path}: name its stage in tests/architecture.py"
        for target, name, line in module.imports:
            if target != "moc" and not target.startswith("moc."):
                continue
            other = _stage_of(target, name)
            if other and STAGES.index(other) > STAGES.index(module.stage):
                wrong.append(f"{module.at(line)} ({module.stage}) imports {other}")
    assert not wrong, "imports go down the list of stages only:\n" + "\n".join(wrong)


def test_no_generator_of_the_process_is_seeded_or_drawn_from():
    seeding = (
        "torch.manual_seed",
        "torch.seed",
        "torch.cuda.manual_seed",
        "torch.cuda.manual_seed_all",
        "torch.random.manual_seed",
        "torch.default_generator.manual_seed",
        "torch.set_rng_state",
        "random.seed",
    )
    wrong = []
    for module in MODULES:
        forked = _lines_under_fork(module)
        for name, line in calls(module):
            numpy_global = name.startswith("np.random.") and name.split(".")[2][0].islower()
            allowed = name in ("np.random.default_rng", "np.random.get_state") or line in forked
            if (name in seeding or numpy_global) and not allowed:
                wrong.append(f"{module.at(line)} {name}")
    assert not wrong, f"the global random state is not moc's: {wrong}"


def test_torch_draws_from_a_given_generator():
    drawing = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"}
    drawing |= {"rand_like", "randn_like", "randint_like"}
    wrong = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("torch."):
                continue
            name = ast.unparse(node.func).removeprefix("torch.")
            if name in drawing and "generator" not in {k.arg for k in node.keywords}:
                wrong.append(f"{module.at(node.lineno)} torch.{name}")
    assert not wrong, f"pass a torch.Generator: {wrong}"


def test_the_library_prints_nothing():
    wrong = [
        f"{module.at(line)} {name}"
        for module in MODULES
        if module.name not in ("cli", "study.reporter")
        for name, line in calls(module)
        if name in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert not wrong, f"only the command line speaks: {wrong}"


LONG = {
    "cli": "one command line",
    "privacy.ledger": "the one place that opens records, and all that it refuses",
    "study.config": "every table of a study file",
    "study.context": "everything that a study makes of its settings",
    "views.mlflow": "all of MLflow is in it",
}
"""Files of more than 300 lines, and why they are not cut."""


def test_files_are_small_unless_a_concept_is_larger():
    sizes = {module.name: len(module.source.splitlines()) for module in MODULES}
    large = {name for name, size in sizes.items() if size > 300}
    assert large <= LONG.keys(), f"say in LONG why these are long: {large - LONG.keys()}"
    assert LONG.keys() <= large, f"no longer long: {LONG.keys() - large}"
    assert _p90(sizes) <= 250, f"90 % of files within 250 lines expected, found {_largest(sizes)}"


def test_no_circles_between_modules():
    """Imports at the top of files, which run when a module is loaded."""
    names = {module.name for module in MODULES}
    graph = {module.name: _top_imports(module, names) for module in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join([*path, name])}"
        if name in done:
            return
        for other in graph[name]:
            visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_functions_are_small():
    sizes = dict(pair for module in MODULES for pair in module.functions)
    large = {place: size for place, size in sizes.items() if size > 50}
    assert not large, f"functions of at most 50 lines without docstring expected, found {large}"
    assert _p90(sizes) <= 20, f"90 % of functions within 20 lines expected, found {_largest(sizes)}"


def test_no_drawer_for_everything_and_nothing_left_undone():
    names = [str(module.path.relative_to(ROOT)) for module in MODULES]
    assert not [name for name in names if Path(name).stem in ("utils", "helpers", "misc", "common")]
    marks = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "X" * 3)
    wrong = [
        name for name, m in zip(names, MODULES, strict=True) if any(x in m.source for x in marks)
    ]
    assert not wrong, f"unfinished: {wrong}"


def test_the_tests_of_the_architecture_see_the_code():
    assert len(MODULES) > 50
    assert sum(len(module.functions) for module in MODULES) > 300
    named = {(m.name, target) for m in MODULES for target, _, _ in m.imports}
    assert ("privacy.accountant", "opacus.accountants") in named, "imports inside functions count"


def _stage_of(target: str, name: str) -> str:
    parts = [*target.split(".")[1:], name]
    return parts[0] if parts[0] in STAGES else ""


def _top_imports(module: Module, names: set[str]) -> set[str]:
    """Modules of moc that are loaded with this one; packages stand for their `__init__`."""
    found = set()
    for node in module.tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("moc."):
            target = (node.module or "").removeprefix("moc.")
            for alias in node.names:
                deeper = f"{target}.{alias.name}"
                found.add(deeper if deeper in names else target)
    return (found & names) - {module.name}


def _lines_under_fork(module: Module) -> set[int]:
    """Lines inside `with torch.random.fork_rng(...)`."""
    withs = [
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.With) and any("fork_rng" in ast.unparse(i) for i in node.items)
    ]
    return {line for node in withs for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def _p90(sizes: dict[str, int]) -> int:
    ordered = sorted(sizes.values())
    return ordered[int(0.9 * (len(ordered) - 1))]


def _largest(sizes: dict[str, int]) -> list[tuple[str, int]]:
    ordered = sorted(sizes.items(), key=lambda pair: -pair[1])
    return ordered[: max(len(sizes) // 10, 10)]
