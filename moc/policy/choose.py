"""Carry a choice out: suggest, take a point of a curve and score it, confirm, say what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from moc.errors import StudyError
from moc.policy.curves import Place, best_place, place_at, point_words
from moc.policy.rules import BALANCED, Limits, Suggestion, describe_limits, suggest
from moc.search.space import Point
from moc.study.dial import Dial
from moc.study.records import StudyRecord
from moc.study.reporter import Reporter
from moc.study.store import read_study
from moc.views.checks import checks_of_set
from moc.views.words import confirmation_words, scores_words


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A trial that was chosen.

    Attributes:
        study: The study with it.
        number: The trial.
        reasons: Why, and at what price, for the card.
        compared: Largest epsilon of the sets that took part in the choice.
    """

    study: StudyRecord
    number: int
    reasons: tuple[str, ...]
    compared: float


def choose_set(  # noqa: PLR0913 - what a person can ask for
    study: StudyRecord,
    limits: Limits,
    *,
    prefer: str = BALANCED,
    point: Point | None = None,
    rung: float | None = None,
    recipe: int = 0,
    take: int | None = None,
    confirmed: bool = True,
    reporter: Reporter,
    say: Callable[[str], object],
) -> Choice:
    """Choose the best set within limits, and confirm it.

    Args:
        study: A study; choosing a new point of a curve, or confirming, adds to its ledger.
        limits: What the choice must keep to.
        prefer: The objective that matters most.
        point: Take this point of a curve.
        rung: With `point`: the epsilon of its rung.
        recipe: With `point`: the number of its recipe.
        take: Take this suggestion, from 1, among the trials of the front.
        confirmed: Whether to confirm the choice on test records under AutoAttack.
        reporter: Told of long work.
        say: Told what is chosen, and why.

    Raises:
        MocError: If nothing keeps within the limits, or something does not go with the study.
    """
    paid = bool((study.config["privacy"] or {}).get("scoring"))
    if point is not None:
        choice = _dialled(study, place_at(study, point, rung, recipe=recipe), limits, reporter, say)
    elif take is None and study.on_curves and study.complete and not paid:
        choice = _dialled(study, best_place(study, limits, prefer), limits, reporter, say)
    else:
        choice = _suggested(study, limits, prefer, take or 1, say)
    if confirmed and study.complete and not paid and study.config["evaluate"]["report_replicates"]:
        Dial(choice.study, reporter).confirm(choice.number)
        choice = replace(choice, study=read_study(study.folder))
        say(_confirmation(choice, limits))
        say(_checks(choice.study, choice.number))
    return choice


def _dialled(
    study: StudyRecord,
    place: Place,
    limits: Limits,
    reporter: Reporter,
    say: Callable[[str], object],
) -> Choice:
    """Take a point of a curve as a trial of the study, scored as all trials were."""
    number = Dial(study, reporter).trial(place.point, place.rung, epsilon=place.compared)
    after = read_study(study.folder)
    trial = after.trial(number)
    expected = scores_words(place.scores, study.objectives)
    where = point_words(study.space.place(place.point)) + (place.recipe and f", {place.recipe}")
    reason = f"{place.reason} Expected at {where}: {expected}."
    say(f"{trial.name}: {scores_words(trial.scores, study.objectives)}")
    for line in (reason, *place.prices):
        say(f"   {line}")
    return Choice(
        study=after,
        number=number,
        reasons=(describe_limits(limits, study.objectives), *place.prices, reason),
        compared=place.compared,
    )


def _suggested(
    study: StudyRecord, limits: Limits, prefer: str, take: int, say: Callable[[str], object]
) -> Choice:
    """Take one of up to three suggestions among the trials of the front."""
    suggestions = suggest(study, limits, prefer=prefer)
    for place, one in enumerate(suggestions, start=1):
        say(_suggestion(study, place, one))
    if take > len(suggestions):
        raise StudyError(f"There are {len(suggestions)} suggestions; --take {take} names none.")
    chosen = suggestions[take - 1]
    return Choice(
        study=study,
        number=chosen.trial.number,
        reasons=(describe_limits(limits, study.objectives), chosen.reason),
        compared=chosen.compared,
    )


def _suggestion(study: StudyRecord, place: int, suggestion: Suggestion) -> str:
    trial = suggestion.trial
    return (
        f"{place}. {trial.name}: {scores_words(trial.scores, study.objectives)}\n"
        f"   {suggestion.reason}\n   {suggestion.next_step}\n   {_checks(study, trial.number)}"
    )


def _checks(study: StudyRecord, number: int) -> str:
    return f"Masking checks of this set: {checks_of_set(study, number)['words']}"


def _confirmation(choice: Choice, limits: Limits) -> str:
    """A confirmation in words, which say where a limit is not kept."""
    study, found = choice.study, choice.study.confirmations[choice.number]
    over = [
        study.objectives[name].words
        for name, most in limits.items()
        if name in study.measured and found.scores[name].mean > most
    ]
    words = confirmation_words(study, choice.number)
    if over:
        words += (
            f" ABOVE THE LIMIT in {' and '.join(over)}: what steered the search flattered this "
            "set. Lower the limit by as much, and choose again."
        )
    return words
