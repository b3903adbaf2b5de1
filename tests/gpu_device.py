"""Where tests marked `gpu` run: on a CUDA device, or on the CPU in the small form of `make gpu`."""

import os

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = bool(os.environ.get("MOC_GPU_SMALL"))

needs_gpu = pytest.mark.skipif(
    DEVICE == "cpu" and not SMALL, reason="needs a CUDA device; `make gpu SMALL=1` runs it on a CPU"
)
