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


def test_only_the_evidence_stage_and_the_type_that_seals_can_reach_a_record():
    found = importers("moc.data._vault")
    assert {name for name, _ in found} >= {"data.real", "evidence.ledger"}
    wrong = [
        place for name, place in found if not name.startswith("evidence.") and name != "data.real"
    ]
    assert not wrong, f"moc.data._vault imported outside data/real.py and evidence/: {wrong}"


def test_only_the_ledger_opens_the_vault():
    wrong = [
        module.at(node.lineno)
        for module in MODULES
        if module.name not in ("data._vault", "data.real", "evidence.ledger")
        for node in ast.walk(module.tree)
        if getattr(node, "id", getattr(node, "attr", getattr(node, "name", "")))
        in ("unseal", "_VAULT")
    ]
    assert not wrong, f"`unseal` used outside data/real.py and evidence/ledger.py: {wrong}"


def test_only_the_evidence_stage_reads_through_the_ledger():
    wrong = [
        f"{module.at(line)} {name}"
        for module in MODULES
        if module.stage != "evidence"
        for name, line in calls(module)
        if name.lower().endswith("ledger.read")
    ]
    assert not wrong, f"`Ledger.read` called outside evidence/: {wrong}"


def test_nobody_looks_into_what_holds_records():
    """Private attributes of the classes of evidence/ that keep records stay in evidence/."""
    hidden = {"_records", "_owned", "_x", "_y"}
    wrong = [
        f"{module.at(node.lineno)} {node.attr}"
        for module in MODULES
        if module.stage not in ("evidence", "data")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in hidden
        and ast.unparse(node.value) != "self"
    ]
    assert not wrong, f"an attribute that holds records of T read outside evidence/: {wrong}"


def test_only_the_ledgers_module_writes_privacy_events():
    wrong = importers("moc.evidence.journal")
    assert [name for name, _ in wrong] == ["evidence.ledger"]


@pytest.mark.parametrize(
    ("packages", "place"),
    [
        (("opacus.accountants",), "evidence.accountant"),
        (("opacus.grad_sample",), "evidence.gradients"),
        (("opendp",), "evidence.noise"),
        (("secrets",), "evidence.noise"),
        (("moc.evidence.owner",), "study.membership"),  # reads T without noise, in no study
        (("torchattacks",), "attacks"),
        (("mlflow",), "study.mlflow"),
        (("botorch", "gpytorch"), "search.bayesian"),
        (("pymoo",), "search.evolutionary"),
        (("moocore",), "search.front"),
        (("plotly", "matplotlib"), "report"),
        (("typer",), "cli"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_an_engine_is_imported_in_one_place(packages, place):
    found = importers(*packages)
    assert found, f"nobody imports {packages}: remove it from this test and from pyproject.toml"
    wrong = [where for name, where in found if name != place and not name.startswith(f"{place}.")]
    assert not wrong, f"{' or '.join(packages)} imported outside moc/{place}: {wrong}"


def test_heavy_engines_are_loaded_when_used():
    """What every command imports loads none of the engines that only some commands need."""
    heavy = ("mlflow", "botorch", "gpytorch", "pymoo", "plotly", "matplotlib", "sklearn", "opendp")
    program = (
        "import sys, moc.cli, moc.evidence, moc.condense, moc.search, moc.study.run;"
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


def test_no_generator_of_the_process_is_seeded_or_read():
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
            allowed = name in ("np.random.default_rng",) or line in forked
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
        if module.name != "cli"
        for name, line in calls(module)
        if name in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert not wrong, f"only the command line speaks: {wrong}"


def test_files_are_small():
    sizes = {module.at(1): len(module.source.splitlines()) for module in MODULES}
    large = {place: size for place, size in sizes.items() if size > 300}
    assert not large, f"files of at most 300 lines expected, found {large}"
    assert _p90(sizes) <= 200, f"90 % of files within 200 lines expected, found {_largest(sizes)}"


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
    assert ("evidence.accountant", "opacus.accountants") in named, "imports inside functions count"


def _stage_of(target: str, name: str) -> str:
    parts = [*target.split(".")[1:], name]
    if parts[:2] == ["study", "mlflow"]:
        return "study.mlflow"
    return parts[0] if parts[0] in STAGES else ""


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
