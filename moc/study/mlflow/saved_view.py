"""The view on which MLflow's page of a study opens: trials compared on the three objectives.

The format is internal to MLflow's web page (read from version 3.17), so it is written as a help
only: where a version does not understand it, the page opens on its default table.
"""

from __future__ import annotations

import json
import time
from typing import Any

VIEW = "moc"
TAG = f"mlflow.sharedViewState.{VIEW}"
_SECTION = "moc-charts"
_PAIRS = (("error", "robust_error"), ("epsilon", "error"), ("epsilon", "robust_error"))


def saved_view(*, private: bool) -> str:
    """Value of the experiment tag `TAG`.

    Args:
        private: Whether epsilon is an objective; an open study logs none.
    """
    objectives = ["error", "robust_error"] + (["epsilon"] if private else [])
    state = {
        "searchFilter": "tags.`moc.kind` = 'trial'",
        "orderByKey": "metrics.`error`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "runsHiddenMode": "SHOW_ALL",
        "runsHidden": [],
        "runsPinned": [],
        "runsExpanded": {},
        "selectedColumns": [
            *(f"metrics.`{name}`" for name in (*objectives, "p_nondominated")),
            "params.`rung`",
            "params.`robust_share`",
            "tags.`moc.pareto`",
        ],
        "viewMaximized": False,
        "isAccordionReordered": True,
        "compareRunSections": [
            {
                "uuid": _SECTION,
                "name": "Front: lower is better",
                "display": True,
                "isReordered": True,
                "columns": 2,
                "cardHeight": 420,
            }
        ],
        "compareRunCharts": _charts(objectives),
    }
    envelope = {
        "name": "moc: the front",
        "createdAt": int(time.time() * 1000),
        "state": json.dumps(state),
    }
    return json.dumps(envelope)


def _charts(objectives: list[str]) -> list[dict[str, Any]]:
    parallel = {
        **_chart("parallel", "PARALLEL", "Weights and objectives"),
        "selectedParams": ["robust_share"],
        "selectedMetrics": objectives,
        "showAllRuns": False,
    }
    pairs = [(x, y) for x, y in _PAIRS if x in objectives]
    scatters = [
        {
            **_chart(f"{x}-{y}", "SCATTER", f"{y} against {x}"),
            "xaxis": {"key": x, "type": "METRIC"},
            "yaxis": {"key": y, "type": "METRIC"},
        }
        for x, y in pairs
    ]
    images = {
        **_chart("images", "IMAGE", "Synthetic sets"),
        "imageKeys": ["synthetic"],
        "step": 0,
    }
    return [parallel, *scatters, images]


def _chart(uuid: str, kind: str, title: str) -> dict[str, Any]:
    return {
        "uuid": f"moc-{uuid}",
        "type": kind,
        "displayName": title,
        "metricSectionId": _SECTION,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
    }
