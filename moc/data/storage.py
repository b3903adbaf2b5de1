"""Synthetic sets on disk: one safetensors file holds records, labels and everything public."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.data.synthetic import SyntheticSet
from moc.errors import DataError

_SUMMED = re.compile(r'(.*),"sum":"([0-9a-f]{64})"}', re.DOTALL)
"""A description with the checksum of the file; sets of earlier versions have none."""


class Description(BaseModel):
    """What stands in a file beside its tensors."""

    info: DataInfo
    decoder: Decoder
    extra: dict[str, Any] = {}


def save_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    info: DataInfo,
    decoder: Decoder,
    extra: Mapping[str, Any] | None = None,
    mode: int = 0o666,
) -> Path:
    """Write tensors, as float32, with their description: readers see the whole file or none.

    `mode` says who may read it, less what the process masks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry only: the library writes several in no fixed order, and equal sets are equal files.
    described = Description(info=info, decoder=decoder, extra=dict(extra or {}))
    text = described.model_dump_json(exclude=None if extra else {"extra"})
    stored = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in tensors.items()}
    meta = {"moc": f'{text[:-1]},"sum":"{checksum(stored, text)}"}}'}
    # As bytes, not by safetensors' own writer, which gives files to their owner alone.
    write_whole(save(stored, metadata=meta), path, mode=mode)
    return path


def write_whole(data: bytes, path: Path, *, mode: int = 0o666) -> None:
    """Write a file that is on the disk when it has its name: readers see the whole of it or none.

    `mode` says who may read it, less what the process masks.
    """
    part = path.with_suffix(path.suffix + ".part")
    with open(part, "wb", opener=lambda name, how: os.open(name, how, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write weights of networks, whole or not at all, in a folder that is their owner's alone."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    stored = {name: one.detach().cpu().contiguous() for name, one in weights.items()}
    write_whole(save(stored), path, mode=0o600)


def load_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], Description]:
    """Read `x`, `labels` and their description.

    Args:
        path: The file.
        what: What it should be, for errors.

    Raises:
        DataError: If there is no such file, or it is not one that moc stored.
    """
    if not path.is_file():
        raise DataError(f"{what.capitalize()} expected at {path}, found no file.")
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not {what} stored by moc, or is truncated; make it again."
        ) from error
    with file:
        meta = file.metadata() or {}
        try:
            tensors = {name: file.get_tensor(name) for name in ("x", "labels")}
            found = _SUMMED.fullmatch(meta["moc"])
            text = f"{found[1]}}}" if found else meta["moc"]
            described = Description.model_validate_json(text, strict=True)
        except (KeyError, ValidationError, SafetensorError) as error:
            raise DataError(
                f"{path} is not {what} stored by moc: its description does not fit."
            ) from error
    if found is not None and found[2] != checksum(tensors, text):
        raise DataError(
            f"{path} is damaged: {what} that fits its checksum expected. Bring it back from a copy."
        )
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise DataError(f"{path} is not {what} stored by moc: float32 arrays expected.")
    return tensors, described


def checksum(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Checksum of tensors with their names and shapes, and of a text before them."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        found.update(f"{name} {tuple(tensors[name].shape)}".encode())
        found.update(tensors[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def save_set(synthetic: SyntheticSet, path: Path, *, mode: int = 0o666) -> Path:
    """Write a set to `path` atomically: readers see the whole file or none.

    Args:
        synthetic: The set.
        path: Where.
        mode: Who may read it, less what the process masks; 0o600 for its owner alone.
    """
    tensors = {"x": synthetic.x, "labels": synthetic.labels}
    return save_tensors(tensors, path, info=synthetic.info, decoder=synthetic.decoder, mode=mode)


def load_set(path: Path) -> SyntheticSet:
    """Read a set that `save_set` wrote.

    Raises:
        DataError: If there is no such file, or it is not a set that moc stored.
    """
    tensors, described = load_tensors(path, "a synthetic set")
    try:
        return SyntheticSet(info=described.info, decoder=described.decoder, **tensors)
    except DataError as error:
        raise DataError(f"{path} is not a synthetic set stored by moc. {error}") from error
