"""The view on which MLflow's page of a study opens: trials compared on the objectives of the study.

The format is internal to MLflow's web page (read from version 3.17), so it is written as a help
only: where a version does not understand it, the page opens on its default table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

VIEW = "moc"
TAG = f"mlflow.sharedViewState.{VIEW}"
_SECTION = "moc-charts"
_PAIRS = 6  # scatter plots at most


def saved_view(objectives: Sequence[str], weighed: Sequence[str]) -> str:
    """Value of the experiment tag `TAG`.

    Args:
        objectives: Names of the study's objectives, which are metrics.
        weighed: Those whose weights are searched, which are parameters.
    """
    weights = [f"weight_{name}" for name in weighed[1:]]
    state = {
        "searchFilter": "tags.`moc.kind` = 'trial'",
        "orderByKey": f"metrics.`{objectives[0]}`",
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
            *(f"params.`{name}`" for name in weights),
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
        "compareRunCharts": _charts(objectives, weights),
    }
    envelope = {
        "name": "moc: the front",
        "createdAt": int(time.time() * 1000),
        "state": json.dumps(state),
    }
    return json.dumps(envelope)


def _charts(objectives: Sequence[str], weights: Sequence[str]) -> list[dict[str, Any]]:
    parallel = {
        **_chart("parallel", "PARALLEL", "Weights and objectives"),
        "selectedParams": list(weights),
        "selectedMetrics": list(objectives),
        "showAllRuns": False,
    }
    pairs = list(combinations(objectives, 2))[:_PAIRS]
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
