"""Contract suites for pytest, which parts of other packages can inherit; see `docs/extend.md`."""

import pytest

pytest.register_assert_rewrite("moc.testing.engines", "moc.testing.executors")  # says what failed
