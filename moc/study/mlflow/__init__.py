"""MLflow as a view of the study folder: rebuilt from it, brought up to date, never read back.

One flat run a trial and a baseline, and one for the study itself, in the experiment `moc/<study>`.
Only one process at a time may write: two that meet a new sqlite file break each other.
"""

from moc.study.mlflow.connect import (
    comparison_link,
    default_uri,
    server_command,
    server_environment,
)
from moc.study.mlflow.registry import set_policy_alias
from moc.study.mlflow.sync import sync

__all__ = [
    "comparison_link",
    "default_uri",
    "server_command",
    "server_environment",
    "set_policy_alias",
    "sync",
]
