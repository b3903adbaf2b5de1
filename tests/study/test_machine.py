"""The report says how far a study repeats: byte by byte on a CPU, up to rounding on a GPU."""

import pytest
import torch

from moc.study import machine
from moc.study.machine import repeats, slow_compute


def test_a_cpu_repeats_to_the_byte_and_says_with_what():
    words = repeats("cpu")
    assert f"torch {torch.__version__}, " in words
    assert "1 thread in the study's own process" in words
    assert "byte by byte" in words


def test_a_gpu_promises_no_bytes():
    words = repeats("cuda")
    assert "byte by byte" not in words
    assert "up to rounding" in words


@pytest.mark.parametrize("knows", [True, False])
def test_a_precision_that_this_processor_only_emulates_is_warned_of(monkeypatch, knows):
    monkeypatch.setattr(machine, "_knows_bfloat16", lambda: knows)
    warning = slow_compute("bfloat16", "cpu")
    assert (warning is None) == knows
    assert knows or "compute = 'float32'" in warning
    assert slow_compute("float32", "cpu") is None
    assert slow_compute("bfloat16", "cuda") is None


def test_whether_a_processor_knows_it_is_found_out_here():
    assert machine._knows_bfloat16() in (True, False)
