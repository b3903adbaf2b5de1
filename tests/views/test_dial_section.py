"""The dial: what it embeds gives back the sets of the curve, and a browser moves along it."""

from __future__ import annotations

import base64

import numpy as np
import torch
from fake_study import fake_study

from moc.data.curve import bernstein
from moc.views.dial import dial_data, dial_section


def test_the_embedded_control_sets_are_those_of_the_curve(tiny_private):
    data = dial_data(tiny_private)
    assert [curve["rung"] for curve in data["curves"]] == ["8", "2"]
    for curve, epsilon in zip(data["curves"], (8.0, 2.0), strict=True):
        found = np.frombuffer(base64.b64decode(curve["pixels"]), np.uint8).reshape(curve["shape"])
        assert curve["shape"] == (3, 10, 2, 8, 8, 1)
        basis = bernstein(torch.tensor([[0.7, 0.3]]), curve["degree"])[0].numpy()
        mixed = np.tensordot(basis, found.astype(float), 1)[..., 0].reshape(-1, 8, 8)
        wanted = 255 * tiny_private.curve(epsilon).at(robust_error=0.3).x[:, 0].numpy()
        assert np.abs(mixed - wanted).max() < 1


def test_scored_sets_stand_on_the_lines_of_their_curve(tiny_private):
    data = dial_data(tiny_private)
    names = [one[3] for curve in data["curves"] for one in curve["scores"]["error"]["scored"]]
    assert sorted(names) == [trial.name for trial in tiny_private.trials]
    for curve in data["curves"]:
        assert len(curve["weights"]) == len(curve["scores"]["robust_error"]["mean"]) == 65


def test_sets_apart_have_no_dial(tmp_path):
    study = fake_study(tmp_path)
    assert dial_section(study) == ""
    assert dial_data(study) is None
