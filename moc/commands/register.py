"""Commands beside those of a study: inspect, methods, compare, verify, doctor, and --version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moc import __version__
from moc.errors import DataError

Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the studies' folders.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.callback()(_whole)
    for command in (inspect, methods, compare, verify, doctor):
        app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moc {__version__}")
        raise typer.Exit


def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    """Condense a data set into small synthetic sets.

    And choose between generalization, adversarial robustness and privacy.
    """
    del version


def inspect(
    path: Annotated[Path, typer.Argument(help="A file or folder with labelled records.")],
    label: Annotated[
        str | None, typer.Option(help="The column of a table that holds the labels.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of ten records a class, a PNG.")
    ] = None,
) -> None:
    """Say what moc sees in your data, and print the [data] table of a study file.

    It reads every record as it is: for the owner's eyes, and covered by no budget.
    """
    from moc.audit import inspect as audit
    from moc.views.contact_sheet import contact_sheet

    source = audit.guess(path)
    if label is not None:
        if "label" not in type(source).model_fields:
            raise DataError(f"--label names a column of a table; {path} is none.")
        source = source.but(label=label)
    if sheet is not None and not sheet.absolute().parent.is_dir():
        raise DataError(f"A folder to write {sheet} into expected, found none.")
    found = audit.inspect(source.but(path=path.absolute()))
    for line in (audit.FOR_THE_OWNER, "", *found.describe()):
        typer.echo(line)
    if sheet is not None:
        try:
            contact_sheet(found.examples).save(sheet)
        except (OSError, ValueError) as error:
            raise DataError(f"{sheet} cannot be written as a picture: {error}.") from None
        typer.echo(f"Contact sheet: {sheet}")
    typer.echo(f"\nFor a study file:\n\n{found.table()}")


def methods(
    name: Annotated[str | None, typer.Argument(help="One of them, to be told all of it.")] = None,
    timed: Annotated[
        bool, typer.Option("--time", help="Measure what a step costs here, on digits.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List the published methods that a study file can name, with their papers and parts."""
    import json

    from moc.commands import methods as catalogue
    from moc.methods import method_called
    from moc.methods import methods as known

    chosen = list(known().values()) if name is None else [method_called(name)]
    if as_json:
        typer.echo(json.dumps([catalogue.facts(one, timed=timed) for one in chosen], indent=2))
    elif name is None:
        for line in (*catalogue.table(timed=timed), "", catalogue.HINT):
            typer.echo(line)
    else:
        for line in catalogue.words(chosen[0], timed=timed):
            typer.echo(line)


def compare(
    first: Annotated[str, typer.Argument(help="A study's name or folder, or an exported folder.")],
    second: Annotated[str, typer.Argument(help="Another of the same kind.")],
    runs: Runs = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Put two studies, or two exported sets, side by side: worth, privacy, settings that differ."""
    import json

    from rich.console import Console
    from rich.table import Table

    from moc.commands.compare import compare_sets, compare_studies
    from moc.study.store import read_study

    found = [_study_folder(name, runs) for name in (first, second)]
    if all(found):
        rows = compare_studies(*(read_study(folder) for folder in found if folder))
    else:
        rows = compare_sets(Path(first), Path(second))
    if as_json:
        typer.echo(json.dumps([{"what": row[0], "a": row[1], "b": row[2]} for row in rows]))
        return
    table = Table("", first, second, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def verify(
    folder: Annotated[str, typer.Argument(help="An exported folder, or a study's name or folder.")],
    scores: Annotated[
        bool, typer.Option(help="Measure the scores of an exported set again; takes a minute.")
    ] = True,
    study: Annotated[
        Path | None, typer.Option(help="A study file whose [data] says where the records lie.")
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Check that an exported folder is as it was written and worth what its card says.

    Its scores are measured again where their records are public, or of an open study, and at hand.
    Of a study: that it can be read whole.
    """
    from moc.commands.verify import verify_export, verify_study

    if (home := _study_folder(folder, runs)) is not None:
        wrong, what = verify_study(home)
    else:
        wrong, what = verify_export(Path(folder)), "every file by its hash, and the set"
    for line in wrong:
        typer.echo(f"- {line}")
    if wrong:
        typer.echo(f"FAILED: {folder} is not as it was written.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder} is as it was written: {what}.")
    if home is None and scores:
        _verify_scores(Path(folder), study, runs)


def _verify_scores(folder: Path, study: Path | None, runs: Path) -> None:
    """Say what the scores are when they are measured again; exit code 1 if they are others."""
    from moc.commands.again import verify_scores
    from moc.study.reporter import Console

    found, why_not = verify_scores(folder, study=study, runs=runs, reporter=Console())
    for one in found:
        typer.echo(f"- {one.describe()}")
    if why_not:
        typer.echo(why_not)
    elif not all(one.agrees for one in found):
        typer.echo(f"FAILED: {folder} is not worth what its card says.", err=True)
        raise typer.Exit(1)
    else:
        typer.echo("Every score was measured again within 3 standard errors.")


def doctor() -> None:
    """Say what moc finds on this machine, what is missing, and what to type."""
    from moc.commands.doctor import examine

    findings = examine()
    for one in findings:
        typer.echo(f"{'ok     ' if one.well else 'MISSING'}  {one.words}")
    if not all(one.well for one in findings):
        raise typer.Exit(1)


def _study_folder(name: str, runs: Path) -> Path | None:
    """The folder of a study, by itself or by its name; None where there is no study."""
    places = (Path(name), runs / name)
    return next((place for place in places if (place / "config.json").is_file()), None)
