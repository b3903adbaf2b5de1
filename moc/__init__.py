"""Multi-objective dataset condensation: generalization, adversarial robustness, privacy.

Import from the stages: `moc.data`, `moc.evidence`, `moc.condense`, `moc.evaluate`, `moc.search`,
`moc.study`, `moc.policy`; or begin and end with `moc.from_arrays`, `moc.from_dataset`, `moc.load`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moc.data.given import from_arrays as from_arrays
    from moc.data.given import from_dataset as from_dataset
    from moc.export import load as load

# What a record adds to a release may not depend on its row in a batch: MKL's kernels for small
# matrices round by row. Any value of this variable switches them off, if set before MKL is used.
os.environ.setdefault("MKL_CBWR", "AUTO")

__version__ = "0.1.0"

_AT_HAND = {
    "from_arrays": "moc.data.given",
    "from_dataset": "moc.data.given",
    "load": "moc.export",
}
"""Loaded when used, so that `import moc` stays quick."""


def __getattr__(name: str) -> object:
    if name in _AT_HAND:
        return getattr(import_module(_AT_HAND[name]), name)
    raise AttributeError(f"module 'moc' has no attribute {name!r}")
