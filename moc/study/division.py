"""How the records of a study are divided, and which of them are public."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from moc.data.vault import RealData, copies
from moc.errors import DataError, StudyError

if TYPE_CHECKING:
    from moc.study.config import DataTable, StudyConfig


def parts_of(config: StudyConfig) -> dict[str, RealData]:
    """T (`train`) and what else the records are divided into, sealed.

    The file's content and `split_seed` fix the division, whatever the study's seed. T is what the
    others leave, so that a record that is taken out of T changes no other part.

    Raises:
        MocError: If the data cannot be loaded or divided, or T would be read beforehand.
    """
    d = config.data
    whole = d.source.load("train", d.declared)
    others = d.declared.model_copy(update={"count": None})
    home = d.public_source.load("train", others) if d.public_source else whole
    sizes = {"reference": d.reference, "validation": d.validation, "test": d.test}
    parts = {}
    own = d.public_source or d.source
    if own.has_test:
        (parts["test"],) = _cut(own.load("test", others), {"test": sizes.pop("test")}, d)
    if (section := d.validation_from) != "train":
        mine = {"validation": sizes.pop("validation")}
        (parts["validation"],) = _cut(own.load(section, others), mine, d)
    sizes = {name: size for name, size in sizes.items() if size}
    if home is whole:
        left = max(len(whole) - sum(sizes.values()), 1)
        *rest, train = _cut(whole, {**sizes, "train": d.train or left}, d)
    else:
        rest = _cut(home, sizes, d)
        (train,) = _cut(whole, {"train": d.train or len(whole)}, d)
    parts = {"train": _stated(train, config), **dict(zip(sizes, rest, strict=True)), **parts}
    _check_alike(parts)
    return _apart(parts, d)


def public_parts(config: StudyConfig) -> tuple[str, ...]:
    """Names of the parts that the study file declares public."""
    d = config.data
    names = ("reference", "validation", "test")
    return tuple(name for name in names if d.public_source is not None or name in d.public)


def describe_parts(config: StudyConfig, parts: Mapping[str, RealData]) -> str:
    """Which records are public and why, in a line."""
    public = public_parts(config)
    shown = {name: f"{name} ({len(data)})" for name, data in parts.items()}
    if config.privacy is None:
        return f"Records: {', '.join(shown.values())}. The study is open: nothing is protected."
    why = (
        "of `public_source`" if config.data.public_source else "as `public` in the study file says"
    )
    open_ones = [words for name, words in shown.items() if name in public]
    closed = [words for name, words in shown.items() if name not in public]
    baselines = (
        ""
        if "reference" in parts and "reference" in public
        else (" No reference records are public, so there are no baselines of real images.")
    )
    return (
        f"Public records: {', '.join(open_ones) or 'none'}{f', {why}' if open_ones else ''}. "
        f"Protected: {', '.join(closed)}.{baselines}"
    )


def _cut(data: RealData, sizes: Mapping[str, int], table: DataTable) -> tuple[RealData, ...]:
    return data.split(list(sizes.values()), seed=table.split_seed)


def _stated(train: RealData, config: StudyConfig) -> RealData:
    """T, unless a private study would have to look at it to know what it needs beforehand.

    Raises:
        StudyError: If it would.
    """
    d = config.data
    known = {*d.declared.taken, *(("count",) if d.train else ())}
    unknown = [fact for fact in train.info.taken if fact not in known]
    if config.privacy is not None and unknown:
        words = {"count": "count = 1000", "classes": "classes = ['no', 'yes'] (or their number)"}
        wanted = " and ".join(words.get(fact, f"{fact} = 0.5") for fact in unknown)
        raise StudyError(
            f"A private study knows of T beforehand only what is declared, and the source "
            f"{d.source.kind!r} would read its {' and '.join(unknown)} off the records. Write such "
            f"as {wanted} in [data.declared] or, if they are public, "
            f"taken = {[f for f in unknown if f in words]} there."
        )
    taken = tuple(f for f in train.info.taken if f != "count" or not d.train)
    return train.described(replace(train.info, taken=taken))


def _check_alike(parts: Mapping[str, RealData]) -> None:
    """Refuse parts of other shapes or classes than T."""
    info = parts["train"].info
    for name, data in parts.items():
        if data.info.shape != info.shape or data.info.classes != info.classes:
            raise DataError(
                f"Records of shape {info.shape} and {len(info.classes)} classes, as in T, expected "
                f"in the {name} part, found {data.info.shape} and {len(data.info.classes)} classes "
                "or others; bring both into one form."
            )


def _apart(parts: dict[str, RealData], table: DataTable) -> dict[str, RealData]:
    """The parts without what `duplicates` forbids.

    Raises:
        DataError: If copies are refused and there are some.
    """
    found = {name: mask for name, mask in copies(parts).items() if mask.any()}
    if not found or table.duplicates == "keep":
        return parts
    if table.duplicates == "refuse":
        counts = [f"{int(mask.sum())} in {name}" for name, mask in found.items()]
        raise DataError(
            f"Records expected once each, found copies: {', '.join(counts)}, of records that come "
            "before them or stand in another part. Write duplicates = 'drop' in [data] to leave "
            "them out (T keeps one of each, at the declared number of records), or 'keep': then k "
            "copies cost k times epsilon, and what is public is not protected."
        )
    kept = {name: ~mask for name, mask in found.items()}
    count = {name: int(m.sum()) for name, m in kept.items()} | {"train": len(parts["train"])}
    thin = {name: parts[name].thinned(m, declared=count[name]) for name, m in kept.items()}
    return {**parts, **thin}
