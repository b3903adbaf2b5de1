"""When a search ends before its trials do: the table `[search.stop]` of a study file."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

_CONFIG = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)


class StopSettings(BaseModel):
    """When the search ends, if that comes before `trials` are done; judged after every batch.

    What has begun is always finished, and the front is then closed as ever. A study of several
    epsilons may not end by the clock: how long the rungs above take tells of them. In one of a
    single epsilon or none, rules may change later: raised or lifted, an ended search goes on.

    Attributes:
        hours: After so many hours of running; rests between a kill and the next run do not count.
        job_hours: After so many hours of jobs, those of all workers added up: CPU hours, where
            each has a core.
        gain: Once the hypervolume of a rung's trials rose by less than this share of itself over
            the last of them.
        over: How many are the last of them.
    """

    model_config = _CONFIG
    hours: float | None = Field(default=None, gt=0)
    job_hours: float | None = Field(default=None, gt=0)
    gain: float | None = Field(default=None, gt=0, lt=1)
    over: int = Field(default=8, gt=0)

    @property
    def by_the_clock(self) -> bool:
        """Whether time decides."""
        return self.hours is not None or self.job_hours is not None

    def reason(self, *, hours: float, job_hours: float, volumes: Sequence[float]) -> str:
        """Why a search is to end, in words; empty if it goes on.

        Args:
            hours: That the study has run.
            job_hours: Of all its jobs.
            volumes: Hypervolume after each trial of the rung that was scored, anchors first; what
                they had without a trial of the search is where a gain begins.
        """
        if self.hours is not None and hours >= self.hours:
            return f"it ran for {self.hours:g} hours"
        if self.job_hours is not None and job_hours >= self.job_hours:
            return f"its jobs took {self.job_hours:g} hours together"
        if self.gain is not None and len(volumes) > self.over:
            now, before = volumes[-1], volumes[-1 - self.over]
            if now > 0 and now - before < self.gain * now:
                return (
                    f"the hypervolume rose by less than {100 * self.gain:g} % over the last "
                    f"{self.over} trials"
                )
        return ""
