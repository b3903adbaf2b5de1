"""Multi-objective dataset condensation: generalization, adversarial robustness, privacy.

Import from the stages: `moc.data`, `moc.evidence`, `moc.condense`, `moc.evaluate`, `moc.search`,
`moc.study`, `moc.policy`.
"""

import os

# What a record adds to a release may not depend on its row in a batch: MKL's kernels for small
# matrices round by row. Any value of this variable switches them off, if set before MKL is used.
os.environ.setdefault("MKL_CBWR", "AUTO")

__version__ = "0.1.0"
