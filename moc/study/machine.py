"""Where a study ran, and whether it comes out the same there again."""

from __future__ import annotations

import platform

import torch

from moc.networks.network import Compute


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


def slow_compute(compute: Compute, device: str) -> str | None:
    """A warning, in words, where networks would compute faster in float32; None if not.

    Args:
        compute: What was asked for.
        device: Where networks live. Processors without bfloat16 emulate it.
    """
    if compute == "float32" or torch.device(device).type != "cpu" or _knows_bfloat16():
        return None
    return (
        f"[condense] compute = '{compute}' is emulated by this processor, many times slower than "
        "compute = 'float32'; on one with AMX or avx512_bf16, or on a GPU, it is faster."
    )


def _knows_bfloat16() -> bool:
    """Whether this processor has instructions for it."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
