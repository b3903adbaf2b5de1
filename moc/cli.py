"""The command line: moc study | check | front | choose | export | ledger | audit | sync | ui."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from errno import (
    EACCES,
    EDQUOT,
    EEXIST,
    EFBIG,
    EISDIR,
    ENAMETOOLONG,
    ENOSPC,
    ENOTDIR,
    EPERM,
    EROFS,
)
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from moc.commands.register import register
from moc.errors import MocError, StudyError
from moc.memory import keep_freed_memory
from moc.streams import speak_plainly
from moc.study.stopping import Stopped

# Idle threads of small tensor operations should sleep: spinning, they starve their neighbours.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from moc.study.records import StudyRecord

app = typer.Typer(
    help="Condense a data set into small synthetic sets, and choose between generalization, "
    "adversarial robustness and privacy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # what it needs takes longer to load than all else of --help
    pretty_exceptions_enable=False,
)
register(app)

Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the studies' folders.")]
Study = Annotated[
    str | None,
    typer.Argument(help="A study's name, folder or TOML file; the newest one if left out."),
]
Profile = Annotated[
    str | None, typer.Option(help="A [profile.NAME] table of the study file, such as gpu.")
]
Png = Annotated[
    bool, typer.Option("--png", help="Also write every training record as a PNG, by class.")
]
_RUNS = Path("runs")
_RobustError = Annotated[
    float | None, typer.Option(help="At most this error under attack, 0 to 1.")
]
_Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", help="NAME=VALUE: at most this value of any other objective of the study."
    ),
]
_Prefer = Annotated[
    str, typer.Option(help="The objective to weigh most among the trials within the limits.")
]
_At = Annotated[
    str | None,
    typer.Option(
        help="Take this point of a curve: a weight, 0 to 1, or NAME=WEIGHT,... of more losses."
    ),
]
_Take = Annotated[
    int | None,
    typer.Option(min=1, max=3, help="Instead: this suggestion among the trials of the front."),
]
_Confirm = Annotated[
    bool, typer.Option(help="Score the choice on test records under AutoAttack; takes minutes.")
]


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="The study file, such as studies/digits.toml.")],
    profile: Profile = None,
    seed: Annotated[
        int | None, typer.Option(help="Another seed; the study is then called NAME-seedN.")
    ] = None,
    runs: Runs = _RUNS,
    mlflow: Annotated[bool, typer.Option(help="Log to MLflow as the study runs.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing until the end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Tell of progress in JSON, an object a line.")
    ] = False,
) -> None:
    """Run a study, or take it up where it was left. Killing it at any moment is safe."""
    from moc.study.config import load_config, parse_config
    from moc.study.reporter import reporter_for
    from moc.study.run import run_study
    from moc.views.base import VIEWS
    from moc.views.live import Live

    config = load_config(file, profile=profile)
    if seed is not None:
        tables = {**config.model_dump(), "seed": seed, "name": f"{config.name}-seed{seed}"}
        config = parse_config(tables, where=f"--seed {seed}")
    folder = runs / config.name
    views = [VIEWS.make(kind) for kind in VIEWS.parts if mlflow or kind != "mlflow"]
    reporter = reporter_for(quiet=quiet, as_json=as_json)
    live = [Live(view, reporter.say) for view in views if view.live]
    reporter.say(f"Study [bold]{config.name}[/bold] in {folder}")
    for view in live:
        view.reach()

    def update(record: StudyRecord) -> None:
        for view in live:
            view.update(record)

    record = run_study(config, folder, reporter=reporter, on_batch=update)
    _show(record)
    hints = [view.write(record) for view in views if not view.live]
    hints += [view.finish(record) for view in live]
    limit = "--robust-error 0.6"
    if config.privacy is not None:
        ladder = config.privacy.epsilons
        limit = f"--epsilon {ladder[(len(ladder) - 1) // 2]:g}"
    typer.echo("\n" + "\n".join(hint for hint in hints if hint))
    typer.echo(f"Choose one by policy:                  moc choose {config.name} {limit}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The study file.")],
    profile: Profile = None,
    runs: Runs = _RUNS,
) -> None:
    """Try a study file out: data, budget, and a study in miniature on random records.

    Nothing is paid for or written.
    """
    from moc.study.config import load_config
    from moc.study.reporter import Console
    from moc.study.run import check_study

    config = load_config(file, profile=profile)
    context = check_study(config, runs / config.name, reporter=Console())
    info, per_class = context.info, config.condense.images_per_class
    recipes = f", {len(config.recipes)} recipes to choose from" if config.search.choices else ""
    typer.echo(
        f"{config.name} can run: {info.count} records of shape {info.shape} in "
        f"{len(info.classes)} classes, condensed to {per_class} a class; {config.planned_trials} "
        f"trials on {config.rung_count} rungs{recipes}; objectives: "
        f"{', '.join(config.objectives)}."
    )


@app.command()
def front(
    study: Study = None,
    runs: Runs = _RUNS,
    output: Annotated[Literal["table", "json"], typer.Option(help="How to print it.")] = "table",
) -> None:
    """Print the non-dominated trials of a study, with standard errors and baselines."""
    record = _read(study, runs)
    if output == "table":
        _show(record)
        return
    import json

    from moc.views.table import front_rows

    typer.echo(json.dumps(front_rows(record), indent=2))


@app.command()
def choose(  # noqa: PLR0913 - the options of the command
    study: Study = None,
    epsilon: Annotated[float | None, typer.Option(help="At most this epsilon.")] = None,
    error: Annotated[float | None, typer.Option(help="At most this clean error, 0 to 1.")] = None,
    robust_error: _RobustError = None,
    limit: _Limits = None,
    prefer: _Prefer = "balanced",
    at: _At = None,
    rung: Annotated[float | None, typer.Option(help="With --at: the rung, by its epsilon.")] = None,
    recipe: Annotated[int, typer.Option(help="With --at: the number of the recipe.")] = 0,
    take: _Take = None,
    confirm: _Confirm = True,
    out: Annotated[Path | None, typer.Option(help="Where to export it.")] = None,
    png: Png = False,
    force: Annotated[bool, typer.Option(help="Overwrite an earlier export.")] = False,
    runs: Runs = _RUNS,
    mlflow: Annotated[bool, typer.Option(help="Set the MLflow alias 'policy'.")] = True,
) -> None:
    """Choose the best set within limits, confirm it, export it with its card as the policy.

    Best of all points of the study's curves; of its trials where there are no curves, or with
    --take.
    """
    from moc.export import check_export
    from moc.policy.choose import choose_set
    from moc.study.reporter import Console

    record = _read(study, runs)
    named = {"error": error, "robust_error": robust_error, "epsilon": epsilon}
    limits = {name: value for name, value in named.items() if value is not None}
    limits |= dict(map(_limit, limit or []))
    folder = out or record.folder / "policy"
    check_export(record, folder, force=force, pngs=png)
    point = None if at is None else _point(at, record)
    chosen = choose_set(
        record,
        limits,
        prefer=prefer,
        point=point,
        rung=rung,
        recipe=recipe,
        take=take,
        confirmed=confirm,
        reporter=Console(),
        say=typer.echo,
    )
    record, number = chosen.study, chosen.number
    why = {"reasons": chosen.reasons, "compared": chosen.compared, "pngs": png}
    _export(record, number, folder, force=force, **why)
    if mlflow:
        from moc.views.mlflow import set_policy_alias

        version = set_policy_alias(record, number, folder, chosen.reasons[-1])
        typer.echo(f"In MLflow: model moc-{record.name}, version {version}, alias 'policy'.")


@app.command()
def export(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    out: Annotated[Path, typer.Argument(help="A new folder for the set and its card.")],
    study: Study = None,
    form: Annotated[
        Literal["safetensors", "npz"], typer.Option("--format", help="File format of the set.")
    ] = "safetensors",
    png: Png = False,
    force: Annotated[bool, typer.Option(help="Overwrite an earlier export.")] = False,
    runs: Runs = _RUNS,
) -> None:
    """Write a trial's synthetic set with a card that says what is guaranteed and what is not."""
    record = _read(study, runs)
    if trial not in {t.number for t in record.trials}:
        failed = f" ({len(record.failed)} of them failed)" if record.failed else ""
        last = len(record.trials) + len(record.failed) - 1
        raise StudyError(f"{record.name} has trials 0 to {last}{failed}, not {trial}.")
    _export(record, trial, out, format=form, pngs=png, force=force)


@app.command()
def ledger(
    study: Study = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Declare what all studies of these records may spend together."),
    ] = None,
    delta: Annotated[float, typer.Option(help="Of that budget.")] = 1e-5,
    runs: Runs = _RUNS,
) -> None:
    """Print what a study read and paid, and what all studies of the same records have spent."""
    from moc.privacy.access import Budget
    from moc.study.config import load_config, parse_config
    from moc.study.context import data_set_ledger, ledger_of

    if study is not None and study.endswith(".toml"):
        config = load_config(Path(study))
        ran = (runs / config.name / "config.json").is_file()
        record = _read(study, runs) if ran else None
    else:
        record = _read(study, runs)
        config = parse_config(record.config, where=str(record.folder))
    for line in record.privacy if record else ():
        typer.echo(f"- {line}")
    shared, records = (
        data_set_ledger(config),
        ledger_of(config, None).private_records,
    )
    if budget is not None:
        shared.declare(records, Budget(epsilon=budget, delta=delta))
    for line in shared.describe(records):
        typer.echo(line)


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(help="The study file of a private study.")],
    profile: Profile = None,
    membership: Annotated[
        bool,
        typer.Option(
            "--membership",
            help="Instead: repeat the study on random halves of T and attack its networks. "
            "Reads T without noise: for the owner's eyes only.",
        ),
    ] = False,
    runs: Annotated[int, typer.Option(min=4, help="How often --membership repeats it.")] = 16,
) -> None:
    """Attack the release with a worst-case record and compare the leak with the claim.

    An audit gives lower bounds only: passing proves nothing, failing proves a defect.
    """
    from moc.audit.repeat import audit_membership
    from moc.audit.study import audit_config
    from moc.study.config import load_config
    from moc.study.reporter import Console

    config = load_config(file, profile=profile)
    if membership:
        findings = [audit_membership(config, runs=runs, reporter=Console())]
    else:
        findings = audit_config(config)
    for finding in findings:
        typer.echo(finding.describe())
    if not all(finding.passed for finding in findings):
        typer.echo("FAILED: the release leaks more than it claims.", err=True)
        raise typer.Exit(1)


@app.command()
def sync(study: Study = None, runs: Runs = _RUNS) -> None:
    """Bring MLflow up to date with a study: what it missed is written, and nothing twice."""
    from moc.views.mlflow import default_uri
    from moc.views.mlflow import sync as bring_up_to_date

    record = _read(study, runs)
    bring_up_to_date(record)
    typer.echo(f"MLflow at {default_uri()} is up to date with {record.name}.")


@app.command()
def ui(
    study: Study = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    runs: Runs = _RUNS,
) -> None:
    """Open MLflow on the studies' database and print the link to the comparison of trials."""
    from moc.views.mlflow import (
        comparison_link,
        default_uri,
        server_command,
        server_environment,
        sync,
    )

    record = _read(study, runs)
    sync(record)
    typer.echo(f"Compare the trials of {record.name}: {comparison_link(record.name, port=port)}")
    typer.echo("The server needs about ten seconds to answer; Ctrl-C ends it.")
    command = server_command(default_uri(), port)
    try:
        raise typer.Exit(subprocess.run(command, env=server_environment(), check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


_PLACES = (EACCES, EPERM, EROFS, ENOTDIR, EISDIR, EEXIST, ENAMETOOLONG)
"""What is wrong with a place that the user named, and not with moc."""


_FULL = (ENOSPC, EDQUOT, EFBIG)


def _full(error: OSError) -> str:
    """What to do about a disk that is full."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}. Make room, and type the same again."


def main() -> None:
    """Run the command line; whatever the user can mend is one message and exit code 2."""
    keep_freed_memory()
    speak_plainly()
    # `moc.study.expected` says why; there it is said for one thread, and views have their own.
    warnings.filterwarnings("ignore", message="The optimal value found for dimension")
    try:
        app(prog_name="moc")
    except MocError as error:
        typer.echo(f"moc: {error}", err=True)
        sys.exit(2)
    except (Stopped, KeyboardInterrupt) as stop:
        typer.echo("moc: stopped; the same command takes a study up where it was left.", err=True)
        sys.exit(128 + getattr(stop, "number", SIGINT))
    except OSError as error:
        if error.errno in _FULL:
            typer.echo(f"moc: {_full(error)}", err=True)
            sys.exit(2)
        if error.errno not in _PLACES or error.filename is None:
            raise
        typer.echo(f"moc: {error.filename}: {error.strerror}. Name another place.", err=True)
        sys.exit(2)


def _limit(text: str) -> tuple[str, float]:
    """NAME=VALUE as a limit."""
    name, _, value = text.partition("=")
    try:
        return name.strip().replace("-", "_"), float(value)
    except ValueError:
        raise StudyError(
            f"--limit NAME=VALUE expected, such as stored_bytes=20000; found {text!r}."
        ) from None


def _point(text: str, record: StudyRecord) -> dict[str, float]:
    """A weight, or NAME=WEIGHT of every loss but the first, as a point of a curve."""
    others = record.weighed[1:]
    if "=" not in text and len(others) == 1:
        text = f"{others[0]}={text}"
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip().replace("-", "_"): float(weight) for name, weight in pairs}
    except ValueError:
        raise StudyError(
            f"--at WEIGHT or NAME=WEIGHT,... expected, such as {others[0]}=0.3; found {text!r}."
        ) from None


def _read(study: str | None, runs: Path) -> StudyRecord:
    """The study that the user means."""
    from moc.study.config import load_config
    from moc.study.store import read_study

    if study is None:
        found = sorted(runs.glob("*/study.jsonl"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise StudyError(f"No study under {runs}. Run one first: moc study studies/digits.toml")
        return read_study(found[-1].parent)
    if study.endswith(".toml"):
        return read_study(runs / load_config(Path(study)).name)
    path = Path(study)
    return read_study(path if (path / "config.json").is_file() else runs / study)


def _show(record: StudyRecord) -> None:
    from rich.console import Console

    from moc.study.records import trial_name
    from moc.views.checks import checks_failed, checks_summary
    from moc.views.table import front_table
    from moc.views.words import volume_checks, volume_words

    console = Console()
    console.print(front_table(record))
    volume = f"Hypervolume (share of the study's fixed frame): {volume_words(record)}"
    checks = volume_checks(record)
    console.print(f"{volume}; {checks}" if checks else volume, highlight=False)
    for words in record.stopped.values():
        console.print(f"{words}.", highlight=False)
    for one in record.failed:
        words = f"Failed: {trial_name(one.number)}, in {one.stage}: {one.cause}."
        console.print(words, highlight=False, markup=False)
    console.print(f"Privacy: {record.privacy[-1]}", highlight=False)
    style = "bold red" if checks_failed(record) else None
    console.print(f"Masking checks: {checks_summary(record)}", style=style, highlight=False)


def _export(record: StudyRecord, number: int, folder: Path, **options: Any) -> None:  # noqa: ANN401
    from moc.export import export_set

    path = export_set(record, number, folder, **options)
    typer.echo(f"Exported trial {number} to {path}: read README.md there before using it.")


if __name__ == "__main__":
    main()
