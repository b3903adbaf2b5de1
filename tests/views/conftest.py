"""What tests of the MLflow view share: a database of their own."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A migrated database: making one takes seconds, copying it does not."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
