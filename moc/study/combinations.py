"""What is right by itself in a study file and cannot work together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from moc.evidence.base import missing
from moc.evidence.kinds import EVIDENCE, EvidencePart
from moc.study.division import public_parts

if TYPE_CHECKING:
    from moc.study.config import StudyConfig


_RECIPES = 64


def combinations(config: StudyConfig) -> Iterator[tuple[bool, str]]:
    """Whether something is wrong, and what to say then, for every rule."""
    evidence, private, objectives = config.evidence, config.privacy is not None, config.objectives
    count = len(objectives)
    yield not 2 <= count <= 6, f"Two to six objectives expected in [objectives], found {count}."
    yield (
        not config.weighed,
        "[objectives] names nothing that a set can be condensed for: add 'error' or "
        "'robust_error'.",
    )
    yield (
        "epsilon" in objectives and not private,
        "The objective 'epsilon' is the budget of a private study; add [privacy], or remove it.",
    )
    yield from _scored(config)
    kinds = [kind for kind, part in EVIDENCE.parts.items() if part.private in (None, private)]
    yield (
        evidence.private not in (None, private),
        f"[evidence] kind = {evidence.kind!r} is for {'open' if private else 'private'} studies, "
        f"and this one is {'private' if private else 'open: it has no [privacy] table'}. "
        f"Use {' or '.join(map(repr, kinds))}.",
    )
    yield (
        bool(config.rounds) and not evidence.released,
        f"[[rounds]] are sums over T, which [evidence] kind = {evidence.kind!r} does not read; "
        "remove them, or use kind = 'moments'.",
    )
    yield from _choices(config)
    yield (
        config.search.stop.by_the_clock and config.rung_count > 1,
        "`hours` and `job_hours` in [search.stop] would end the search of a rung by how long the "
        "rungs above it take, which its epsilon does not pay for: use `gain`, or one epsilon.",
    )
    shares = sum(one.share for one in config.rounds)
    yield (
        evidence.released and abs(shares - 1) > 1e-9,
        f"The shares of [[rounds]] divide the budget of the release: a sum of 1 expected, found "
        f"{shares:g}.",
    )
    summed = [frozenset(s.kind for s in one.statistics) for one in config.rounds]
    yield from _learned(config, summed)
    gives = evidence.gives(frozenset.intersection(*summed) if summed else frozenset())
    wanted = [(f"[objectives.{name}]", one.needs) for name, one in objectives.items()]
    wanted.append(("`pool` in [condense]", frozenset({"records"} if config.condense.pool else ())))
    for who, needs in wanted:
        if lacking := missing(needs, gives):
            yield True, _lacks(who, lacking, evidence, private=private)
    yield from evidence.faults(summed, needed=config.condense.records_per_class)


def _learned(config: StudyConfig, summed: Sequence[frozenset[str]]) -> Iterator[tuple[bool, str]]:
    learning = [number for number, one in enumerate(config.rounds) if one.learned is not None]
    yield (
        0 in learning,
        "The first of [[rounds]] has nothing to learn from: remove `learned` there, and give it to "
        "a later round.",
    )
    yield (
        bool(learning) and any("class-means" not in kinds for kinds in summed[: max(learning)]),
        "Networks of a round learn from class means of the rounds before: add 'class-means' to "
        "`statistics` in each of these.",
    )


def _choices(config: StudyConfig) -> Iterator[tuple[bool, str]]:
    choices = config.search.choices
    counts = {name: len(values) for name, values in choices.items()}
    yield (
        any(count < 2 for count in counts.values()) or math.prod(counts.values()) > _RECIPES,
        f"[search.choices] should have two or more values each, and {_RECIPES} combinations at "
        f"most; found {counts}.",
    )
    yield (
        bool(choices) and not all(one.on_curves for one in config.recipes),
        "[search.choices] need a curve for each recipe: two losses or more in [objectives], and "
        "front = 'curve' in [condense].",
    )


def _scored(config: StudyConfig) -> Iterator[tuple[bool, str]]:
    """What steers the search of a private study is public, or paid for."""
    private, paid = config.privacy is not None, config.pays_for_scores
    public = "validation" in public_parts(config)
    yield (
        private and not paid and not public,
        "Validation records steer the search of this private study, and nothing says that they may "
        "be read: write public = ['validation'] in [data] if they are public (name 'test' and "
        "'reference' too where those are), or pay for scores with scoring = 0.2 in [privacy].",
    )
    yield (
        private and paid and public,
        "[privacy] scoring pays for scores on validation records, which [data] declares public: "
        "they cost nothing, so remove one of the two.",
    )


def _lacks(who: str, lacking: frozenset[str], evidence: EvidencePart, *, private: bool) -> str:
    what = " and ".join(sorted(lacking))
    if "records" in lacking:
        cure = "[evidence] kind = 'proxy'" if private else "[evidence] kind = 'samples'"
        return (
            f"{who} needs records, and [evidence] kind = {evidence.kind!r} gives sums over them "
            f"only. Use {cure}, or choose another loss."
        )
    return (
        f"{who} needs {what}, which not every round releases: add it to `statistics` in each of "
        f"[[rounds]], such as {{kind = '{min(lacking)}', weight = 0.5}}"
        + (", or use [evidence] kind = 'proxy', which needs none." if private else ".")
    )
