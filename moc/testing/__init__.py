"""Contract suites for pytest, which parts of other packages can inherit; see `docs/extend.md`."""
