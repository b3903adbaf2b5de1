"""The report says how far a study repeats: byte by byte on a CPU, up to rounding on a GPU."""

import torch

from moc.study.machine import repeats


def test_a_cpu_repeats_to_the_byte_and_says_with_what():
    words = repeats("cpu")
    assert f"torch {torch.__version__}, " in words
    assert "1 thread in the study's own process" in words
    assert "byte by byte" in words


def test_a_gpu_promises_no_bytes():
    words = repeats("cuda")
    assert "byte by byte" not in words
    assert "up to rounding" in words
