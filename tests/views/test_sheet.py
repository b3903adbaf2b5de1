"""The contact sheet shows every class, in order, pixel for pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_study import fake_set

from moc.views.contact_sheet import contact_sheet, curve_sheet


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (2, 5, 9), (1, 90, 80), (12,)], ids=str)
def test_every_kind_of_record_is_drawn(shape):
    small, large = (contact_sheet(fake_set(shape, per_class=n)) for n in (2, 4))
    assert small.mode == "RGB"
    assert large.height == small.height
    assert large.width > small.width


def test_pixels_are_enlarged_exactly_and_classes_keep_their_rows():
    synthetic = fake_set((1, 8, 8), classes=3, per_class=2)
    sheet = np.asarray(contact_sheet(synthetic, cell=16))
    left = sheet.shape[1] - 2 * (16 + 4)
    for index, (row, column) in enumerate((r, c) for r in range(3) for c in range(2)):
        top = 4 + row * 20
        tile = sheet[top : top + 16, left + column * 20 :][:, :16]
        expected = (synthetic.x[index, 0].numpy() * 255).round()
        np.testing.assert_array_equal(tile[::2, ::2, 0], expected)
        np.testing.assert_array_equal(tile[1::2, 1::2, 2], expected)


def test_soft_labels_go_to_their_likeliest_class_and_empty_classes_have_no_row():
    synthetic = fake_set(classes=4, per_class=1)
    labels = torch.full((4, 4), 0.1)
    labels[:, 2] = 0.7
    one_row = contact_sheet(replace(synthetic, labels=labels))
    assert one_row.height < contact_sheet(synthetic).height / 2
    assert one_row.width > contact_sheet(synthetic).width


def test_at_most_ten_records_a_class_are_drawn():
    assert (
        contact_sheet(fake_set(classes=2, per_class=25)).size
        == contact_sheet(fake_set(classes=2, per_class=10)).size
    )


def test_a_curve_has_a_row_for_each_point_and_a_column_for_each_class(tiny_private):
    curve = tiny_private.curve(8.0)
    sheet = np.asarray(curve_sheet(curve, rows=3, cell=8))
    assert sheet.shape[:2] == (4 + 3 * 12, 40 + 10 * 12)
    corner = (255 * curve.x[0, 0, 0].numpy()).round()
    assert np.abs(sheet[4:12, 40:48, 0] - corner).max() <= 1
