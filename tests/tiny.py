"""Studies that run in seconds, on real digits; what the tests of whole studies share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "executor": {"kind": "local", "workers": 1},
    "data": {
        "source": "digits",
        "train": 300,
        "validation": 60,
        "test": 60,
        "reference": 150,
        "public": ["validation", "test", "reference"],
    },
    "evidence": {"kind": "samples", "networks": ["convnet2-w8"], "batch": 32},
    "objectives": {
        "error": {},
        "robust_error": {
            "adversarial": {"kind": "attacked", "records": 8, "attack": {"kind": "fgsm"}}
        },
    },
    "condense": {"images_per_class": 2, "steps": 4},
    "teacher": {"network": "convnet2-w8", "steps": 3, "batch": 16},
    "evaluate": {
        "protocol": {
            "kind": "fast",
            "network": "convnet2-w8",
            "epochs": 8,
            "suite": {
                "kind": "custom",
                "attacks": [
                    {"kind": "fgsm"},
                    {"kind": "pgd-ce", "steps": 3, "random_start": True},
                    {"kind": "square", "steps": 4},
                ],
            },
        },
        "replicates": 1,
        "report_replicates": 1,
    },
    "search": {"trials": 4, "batch": 2},
}
"""Open, two objectives."""

PRIVATE: dict[str, Any] = {
    **TINY,
    "name": "tiny-private",
    "privacy": {"epsilons": [8.0, 2.0]},
    "rounds": [{"networks": ["convnet2-w8"], "count": 4}],
    "evidence": {"kind": "proxy", "images_per_class": 3, "steps": 3, "batch": 32},
}
"""Private, two rungs, from proxies."""


def unreported(tables: dict[str, Any]) -> dict[str, Any]:
    """A study that ends with its search: half of the time of a tiny one goes to its report."""
    return {**tables, "evaluate": {**tables["evaluate"], "report_replicates": 0}}


def toml(value: Any) -> str:
    """Settings as a study file, or a value as it stands in one."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def write_study_file(tables: dict[str, Any], path: Path) -> None:
    """Write settings as a study file."""
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in tables.items()))
