"""What moc sees in a data set, for the eyes of its owner: no budget covers it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from moc.data.declared import DataInfo
from moc.data.sources import SOURCES, Source
from moc.data.sources.base import Section
from moc.data.synthetic import SyntheticSet, one_hot
from moc.data.vault import Records, as_unit
from moc.errors import DataError
from moc.privacy.access import Access
from moc.privacy.ledger import Ledger

FOR_THE_OWNER = (
    "For the owner's eyes: this read every record as it is, outside any budget and any ledger. "
    "What it shows, examples and counts among it, is not protected."
)
_LARGEST = 1000
"""Held-out records to propose at most."""
_SIDE, _PART = 8, 4096  # pixels of a coarse image; records at a time


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was seen.

    Attributes:
        source: What reads the data, with what it needed to be told.
        told: Whether that was read off the records.
        info: Public facts, of the train section.
        counts: Records of every class, by section.
        span: Smallest and largest value, in [0, 1].
        copies: Records that repeat one before them, by section, in it or a section before it.
        near: Further records that are nearly one before them, likewise: at least so many.
        examples: Up to ten records of every class of the train section.
    """

    source: Source
    told: bool
    info: DataInfo
    counts: dict[Section, tuple[int, ...]]
    span: tuple[float, float]
    copies: dict[Section, int]
    near: dict[Section, int]
    examples: SyntheticSet

    def describe(self) -> list[str]:
        """Everything in words, a line each."""
        shape = " x ".join(map(str, self.info.shape))
        form = "images (channels x height x width)" if self.info.is_image else "vectors"
        lines = [
            f"Source {self.source.kind!r}: {form} of {shape}, values {self.span[0]:.4g} to "
            f"{self.span[1]:.4g} of [0, 1], {len(self.info.classes)} classes"
        ]
        for section, counts in self.counts.items():
            again = f", {n} of them copies of others" if (n := self.copies[section]) else ""
            near = f", {n} or more nearly so" if (n := self.near[section]) else ""
            lines.append(f"{section}: {sum(counts)} records{again}{near}")
            pairs = zip(self.info.classes, counts, strict=True)
            lines.append("  " + ", ".join(f"{name}: {count}" for name, count in pairs))
        if any((*self.copies.values(), *self.near.values())):
            lines.append(
                "k records of one person cost up to k times epsilon: leave out what repeats them."
            )
        if self.told:
            lines.append(
                "The bounds, words or sizes below were read off the records: a private study needs "
                "ones that were known without them."
            )
        return lines

    def table(self) -> str:
        """The `[data]` table of a study file."""
        settings = self.source.model_dump(mode="json", exclude_defaults=True)
        settings = {"kind": self.source.kind, **settings}
        train = sum(self.counts["train"])
        held_out = min(max(train // 6, 1), _LARGEST)
        test = min(sum(self.counts.get("test", (held_out,))), _LARGEST)
        validation, own = held_out, ""
        if "validation" in self.counts:
            validation = min(sum(self.counts["validation"]), _LARGEST)
            own = 'validation_from = "validation"\n'
        names, published = self.info.classes, self.source.published
        numbered = names == tuple(map(str, range(len(names))))
        classes = _toml(len(names) if numbered else names)
        facts = [f"count = {train}"] if self.source.records.get("train") != train else []
        facts += [f"classes = {classes}"] if "classes" not in published else []
        declared = (
            f"\n\n[data.declared]   # a private study: if these are known without the records\n"
            f"{chr(10).join(facts)}"
        )
        return (
            f"[data]\nsource = {_toml(settings)}\nvalidation = {validation}\n{own}test = {test}\n"
            f"# reference = {held_out}   # a private study: records declared public, for baselines"
            f"{declared if facts else ''}"
        )


def guess(path: Path) -> Source:
    """The source that reads what lies at `path`.

    Raises:
        DataError: If none does.
    """
    for part in SOURCES.parts.values():
        if (found := part.guess(path)) is not None:
            return found
    what = "something that moc does not know" if path.exists() else "nothing"
    raise DataError(
        f"An .npz file, a CSV or Parquet table, or a folder of IDX files, of CIFAR's files or of "
        f"images by class expected at {path}, found {what}."
    )


def inspect(source: Source) -> Inspection:
    """Read all records of a source as they are.

    Raises:
        DataError: If it cannot be read.
    """
    told = source.proposed()
    ledger, records = Ledger(None), dict[Section, Records]()
    for name in told.sections:
        ledger.own(name, told.load(name))
        access = Access(key=name, data=name, purpose="inspection by the owner", kind="open")
        records[name] = ledger.read(access)
    info = ledger.info("train")
    copies, near = dict[Section, int](), dict[Section, int]()
    seen, coarse = set[bytes](), set[bytes]()
    for name, held in records.items():
        copies[name], near[name] = _repeated(held, seen, coarse)
    edges = [as_unit(edge) for held in records.values() for edge in held.x.aminmax()]
    return Inspection(
        source=told,
        told=told != source,
        info=info,
        counts={n: _counts(held, info) for n, held in records.items()},
        span=(float(min(edges)), float(max(edges))),
        copies=copies,
        near=near,
        examples=_examples(records["train"], info),
    )


def _repeated(records: Records, seen: set[bytes], coarse: set[bytes]) -> tuple[int, int]:
    """Copies of records that were seen, and others that are one of these on a coarse grid."""
    copies = near = 0
    for digest, keys in zip(records.digests(), _coarse(records), strict=True):
        if digest in seen:
            copies += 1
        elif not coarse.isdisjoint(keys):
            near += 1
        seen.add(digest)
        coarse.update(keys)
    return copies, near


def _coarse(records: Records) -> Iterator[tuple[bytes, bytes]]:
    """Each record on two grids, half a step apart: images of at most 8 x 8 pixels, in 16 steps.

    Two that differ by little share one of them, mostly; what differs by a step shares none.
    """
    for part in records.x.split(_PART):
        x = as_unit(part)
        if x.dim() == 4:
            height, width = (min(side, _SIDE) for side in x.shape[2:])
            x = F.adaptive_avg_pool2d(x, (height, width))
        steps = 16 if x.dim() == 4 else 256
        grids = [(x * steps + shift).floor().short().flatten(1) for shift in (0.0, 0.5)]
        for first, second in zip(*grids, strict=True):
            yield b"0" + first.numpy().tobytes(), b"1" + second.numpy().tobytes()


def _counts(records: Records, info: DataInfo) -> tuple[int, ...]:
    return tuple(records.y.bincount(minlength=len(info.classes)).tolist())


def _examples(records: Records, info: DataInfo) -> SyntheticSet:
    rows = [(records.y == k).nonzero()[:10, 0] for k in range(len(info.classes))]
    index = torch.cat(rows)
    labels = one_hot(records.y[index], len(info.classes))
    return SyntheticSet(info=info, x=as_unit(records.x[index]), labels=labels)


def _toml(value: Any) -> str:  # noqa: ANN401
    """A setting as TOML writes it, on one line."""
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_toml(one)}" for key, one in value.items() if one is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else json.dumps(name, ensure_ascii=False)
