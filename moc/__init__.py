"""Multi-objective dataset condensation: generalization, adversarial robustness, privacy.

Import from the stages: `moc.data`, `moc.evidence`, `moc.condense`, `moc.evaluate`, `moc.search`,
`moc.study`, `moc.policy`.
"""

__version__ = "0.1.0"
