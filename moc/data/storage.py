"""Synthetic sets on disk: one safetensors file holds records, labels and everything public."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.data.synthetic import SyntheticSet
from moc.errors import DataError


class _Description(BaseModel):
    info: DataInfo
    decoder: Decoder


def save_set(synthetic: SyntheticSet, path: Path) -> Path:
    """Write a set to `path` atomically: readers see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry only: the library writes several in no fixed order, and equal sets are equal files.
    described = _Description(info=synthetic.info, decoder=synthetic.decoder)
    meta = {"moc": described.model_dump_json()}
    part = path.with_suffix(path.suffix + ".part")
    tensors = {"x": _stored(synthetic.x), "labels": _stored(synthetic.labels)}
    # As bytes, not by safetensors' own writer, which gives files to their owner alone.
    with part.open("wb") as file:
        file.write(save(tensors, metadata=meta))
        file.flush()
        os.fsync(file.fileno())
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
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not a synthetic set stored by moc, or is truncated; make it again."
        ) from error
    with file:
        meta = file.metadata() or {}
        try:
            tensors = {name: file.get_tensor(name) for name in ("x", "labels")}
            described = _Description.model_validate_json(meta["moc"], strict=True)
        except (KeyError, ValidationError, SafetensorError) as error:
            raise DataError(
                f"{path} is not a synthetic set stored by moc: its description does not fit."
            ) from error
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise DataError(f"{path} is not a synthetic set stored by moc: float32 arrays expected.")
    try:
        return SyntheticSet(info=described.info, decoder=described.decoder, **tensors)
    except DataError as error:
        raise DataError(f"{path} is not a synthetic set stored by moc. {error}") from error


def _stored(rows: Tensor) -> Tensor:
    return rows.detach().to("cpu", torch.float32).contiguous()
