"""Where a study ran, and whether it comes out the same there again."""

from __future__ import annotations

import platform

import torch


def repeats(device: str) -> str:
    """How far the same study would give the same sets again, in words.

    Args:
        device: Where its tensors live.
    """
    threads, on = torch.get_num_threads(), f"with torch {torch.__version__}"
    if torch.device(device).type == "cpu":
        many = f"{threads} thread{'s' if threads > 1 else ''}"
        return (
            f"It ran on a CPU ({platform.machine()}) {on}, {many} in the study's own process and "
            "one in each worker: the same data, seed and release give the same sets there again, "
            "byte by byte. With other numbers of threads, processors or versions, or in halves "
            "where memory ran out, last digits may differ."
        )
    name = torch.cuda.get_device_name(device) if torch.cuda.is_available() else device
    return (
        f"It ran on {name} {on}: sums are taken in no fixed order there, so that the same study "
        "gives sets that agree up to rounding, and scores within their standard errors."
    )
