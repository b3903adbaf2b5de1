"""Jobs on a Ray cluster: one of its own on this machine, or one of many machines."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field
from typing_extensions import override

from moc.errors import StudyError
from moc.study.executors import _ray
from moc.study.executors.base import Executor, ExecutorPart
from moc.study.work import JobContext

_MOST = 8  # workers, where nobody says how many


class Ray(ExecutorPart):
    """Workers on a Ray cluster, each with CPUs and a GPU, or a share of one, to itself.

    Needs `pip install 'moc-condensation[ray]'`, of the same version on all machines, and a study
    folder that all of them see under one path.

    Attributes:
        address: Of a cluster that runs, such as `auto`, `HOST:6379` or `ray://HOST:10001`; one of
            its own on this machine, which ends with the study, if left out.
        workers: How many; as many as fit into the cluster, at most 8, if left out.
        cpus: CPUs of each.
        gpus: GPUs of each, or the share of one, such as 0.25.
        retries: How often a job that lost its worker, or its node, is done again.
        time_limit: Seconds that one job may take, as for `local`.
    """

    kind: Literal["ray"] = "ray"
    address: str | None = None
    workers: int | None = Field(default=None, gt=0)
    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)
    retries: int = Field(default=1, ge=0)
    time_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    @override
    def elsewhere(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else ""

    @override
    def side_by_side(self, device: str) -> int:
        return self.workers or _MOST

    @override
    def start(self, context: JobContext) -> Executor:
        self._require_device(context.device)
        cores = os.cpu_count() or 1
        leave = _ray.connect(self.address, cpus=max(cores, round((self.workers or 1) * self.cpus)))
        try:
            return _ray.RayWorkers(
                context,
                _ray.actors(cpus=self.cpus, gpus=self.gpus),
                leave,
                workers=self._count(_ray.resources()),
                time_limit=self.time_limit,
                retries=self.retries,
            )
        except BaseException:
            leave()
            raise

    def _require_device(self, device: str) -> None:
        """Refuse workers without the GPU that jobs are to run on, and GPUs without a job."""
        if (device != "cpu") != (self.gpus > 0) or device not in ("cpu", "cuda"):
            raise StudyError(
                f"Workers of [executor] kind = 'ray' with gpus = {self.gpus:g} cannot work on "
                f"device = {device!r}: write device = 'cpu' without gpus, or device = 'cuda' with "
                "gpus = 1 or a share of one."
            )

    def _count(self, there: dict[str, float]) -> int:
        """How many workers there will be.

        Raises:
            StudyError: If not one of them would fit.
        """
        fit = there.get("CPU", 0.0) / self.cpus
        if self.gpus:
            fit = min(fit, there.get("GPU", 0.0) / self.gpus)
        if fit < 1:
            raise StudyError(
                f"A worker of {self.cpus:g} CPUs and {self.gpus:g} GPUs does not fit into "
                f"{self.elsewhere or 'this machine'}, which has {there.get('CPU', 0):g} and "
                f"{there.get('GPU', 0):g}; change cpus or gpus of [executor]."
            )
        return min(int(fit), self.workers or _MOST)
