"""Robust teachers of every rung, kept in the study folder so that a resumed study has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file

from moc.data.storage import save_weights
from moc.errors import StudyError
from moc.networks.network import Ensembles, Network, build, finite_weights
from moc.networks.teachers import train_teachers

if TYPE_CHECKING:
    from moc.study.context import StudyContext


def robust_teachers(context: StudyContext) -> Ensembles:
    """Train, or read back, the teachers of every rung, on what its readers may see.

    Files are named after what the teachers were made from, the rung of the release among it; they
    are their owner's alone, as those of an open study saw records of T.

    Raises:
        StudyError: If their training diverged.
    """
    evidence, groups = context.evidence, []
    for rung in range(context.rungs):
        name = f"{rung}-{context.made_from(rung, context.config.model_dump_json())}"
        paths = [
            context.folder / "teachers" / f"{name}-{number}.safetensors"
            for number in range(context.config.teacher.count)
        ]
        found = [_load(path, context) for path in paths]
        group = [one for one in found if one is not None]
        if len(group) < len(paths):
            with context.reporter.stage(f"robust teacher {rung + 1} of {context.rungs}") as tell:
                group = train_teachers(
                    evidence.source(rung),
                    network=context.teacher_network,
                    settings=context.config.teacher,
                    threat=context.config.threat,
                    seed=context.seed,
                    progress=tell,
                )
            if not all(map(finite_weights, group)):
                raise StudyError(
                    f"A robust teacher diverged: its weights are infinite or no numbers (NaN). "
                    f"Give [teacher] a smaller lr than {context.config.teacher.lr:g}."
                )
            for one, path in zip(group, paths, strict=True):
                save_weights(one.state_dict(), path)
        groups.append(group)
    return Ensembles(groups)


def _load(path: Path, context: StudyContext) -> Network | None:
    """The network at `path`; None if there is none, or none that can be read."""
    network = build(context.teacher_network, context.info, seed=0)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return None
    return network.to(context.device).eval().requires_grad_(False)
