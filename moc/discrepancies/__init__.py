"""Discrepancies: differentiable distances between S and the evidence, and the losses made of them.

One file a discrepancy, a distance or a loss; study files know them by their kinds.
"""
