"""Synthetic sets on disk: one safetensors file holds records, labels and everything public."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from moc.data.real import DataInfo
from moc.data.synthetic import Decoder, SyntheticSet
from moc.errors import DataError


def save_set(synthetic: SyntheticSet, path: Path) -> Path:
    """Write a set to `path` atomically: readers see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {name: json.dumps(asdict(getattr(synthetic, name))) for name in ("info", "decoder")}
    part = path.with_suffix(path.suffix + ".part")
    tensors = {"x": synthetic.x.contiguous().cpu(), "labels": synthetic.labels.contiguous().cpu()}
    # As bytes, not by safetensors' own writer, which gives files to their owner alone.
    part.write_bytes(save(tensors, metadata=meta))
    part.replace(path)
    return path


def load_set(path: Path) -> SyntheticSet:
    """Read a set that `save_set` wrote.

    Raises:
        DataError: If there is no such file, or it is not a set that moc stored.
    """
    if not path.is_file():
        raise DataError(f"A stored synthetic set expected at {path}, found no file.")
    try:
        file = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise DataError(f"{path} is not a synthetic set stored by moc, or is truncated.") from error
    with file:
        meta = file.metadata() or {}
        if "info" not in meta:
            raise DataError(f"{path} is not a synthetic set stored by moc: it has no description.")
        info = json.loads(meta["info"])
        for key in ("shape", "classes", "mean", "std"):
            info[key] = tuple(info[key])
        return SyntheticSet(
            info=DataInfo(**info),
            x=file.get_tensor("x"),
            labels=file.get_tensor("labels"),
            decoder=_decoder(meta),
        )


def _decoder(meta: dict[str, str]) -> Decoder:
    """The decoder of a stored set; the first versions wrote its factor alone."""
    if "decoder" in meta:
        return Decoder(**json.loads(meta["decoder"]))
    return Decoder(factor=int(meta["factor"]))
