"""Audits: attacks on what a study releases, and on what networks trained on its sets give away.

An audit gives lower bounds. Passing proves nothing; failing proves a defect.
"""
