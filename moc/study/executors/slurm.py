"""Jobs on a Slurm cluster, by submitit."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from moc.data.sources.base import UserPath
from moc.study.executors._submitit import Submitted
from moc.study.executors.base import Executor, ExecutorPart
from moc.study.work import JobContext


class Slurm(ExecutorPart):
    """Every job a Slurm job, where moc and the study folder are as they are here.

    Needs `pip install 'moc-condensation[slurm]'`. Jobs, what they work on and their results are
    files in `folder`, so a study whose held-out records are private is refused. Slurm goes on with
    jobs of a study that was killed; nobody hears of their results.

    Attributes:
        folder: On a file system that all nodes see. In it the study makes one that only its owner
            can look into, and removes it in the end.
        workers: Most jobs at a time.
        minutes: After which Slurm ends a job; it then counts as lost.
        cpus: CPUs of each.
        gpus: GPUs of each.
        memory: Gigabytes of each; what the partition gives if left out.
        partition: Where they run; the cluster's default if left out.
        more: Further parameters of Slurm, such as `{ account = "NAME" }`.
        retries: How often a job that was lost is done again.
        time_limit: Seconds that one job may take once it has begun, as for `local`.
        cluster: `slurm`, or `local` to try all of it on this machine.
    """

    kind: Literal["slurm"] = "slurm"
    on_disk: ClassVar[bool] = True
    folder: UserPath
    workers: int = Field(default=8, gt=0)
    minutes: int = Field(default=60, gt=0)
    cpus: int = Field(default=1, gt=0)
    gpus: int = Field(default=0, ge=0)
    memory: float | None = Field(default=None, gt=0)
    partition: str | None = None
    more: dict[str, str] = Field(default={})
    retries: int = Field(default=1, ge=0)
    time_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    cluster: Literal["slurm", "local"] = "slurm"

    @property
    @override
    def elsewhere(self) -> str:
        return f"Slurm, by files in {self.folder}"

    @override
    def start(self, context: JobContext) -> Executor:
        parameters: dict[str, Any] = {
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus,
            "mem_gb": self.memory,
            "slurm_partition": self.partition,
            "slurm_additional_parameters": self.more,
        }
        return Submitted(
            context,
            cluster=self.cluster,
            folder=self.folder,
            parameters={name: value for name, value in parameters.items() if value},
            workers=self.workers,
            time_limit=self.time_limit,
            retries=self.retries,
        )
