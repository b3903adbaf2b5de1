"""A contact sheet: all the classes of a synthetic set at a glance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from moc.data.curve import Curve
from moc.data.synthetic import SyntheticSet

_GAP = 4
_PAPER = (255, 255, 255)
_INK = (70, 76, 84)


def contact_sheet(synthetic: SyntheticSet, *, per_row: int = 10, cell: int = 56) -> Image.Image:
    """Draw one row a class (by the most likely label), the first records of the class in it.

    Args:
        synthetic: Images (grey or RGB; of other channels the mean is shown), or vectors, each
            drawn as a heat strip, black for 0 over red and yellow to white for 1.
        per_row: At most this many records of a class are drawn.
        cell: Images are enlarged by the largest whole factor that keeps their longer side within
            this many pixels (at least their own size), so that every stored pixel stays sharp.

    Returns:
        An RGB image; classes without records have no row.
    """
    tiles = _tiles(synthetic, cell)
    labels = synthetic.labels.argmax(1).cpu().numpy()
    rows = [(name, np.flatnonzero(labels == k)) for k, name in enumerate(synthetic.info.classes)]
    rows = [(name, row[:per_row]) for name, row in rows if len(row)]
    height, width = tiles.shape[1:3]
    font = ImageFont.load_default(11)
    names = [name if len(name) <= 14 else f"{name[:13]}…" for name, _ in rows]
    margin = _GAP + max(round(font.getlength(name)) for name in names) + _GAP
    columns = max(len(row) for _, row in rows)
    size = (margin + columns * (width + _GAP), _GAP + len(rows) * (height + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for r, (name, (_, row)) in enumerate(zip(names, rows, strict=True)):
        top = _GAP + r * (height + _GAP)
        draw.text((margin - _GAP, top + height / 2), name, fill=_INK, font=font, anchor="rm")
        for c, index in enumerate(row):
            sheet.paste(Image.fromarray(tiles[index]), (margin + c * (width + _GAP), top))
    return sheet


def curve_sheet(curve: Curve, *, rows: int = 9, cell: int = 56) -> Image.Image:
    """Draw a curve of two losses: one row a point, from end to end, a record of every class in it.

    Args:
        curve: The curve.
        rows: How many points.
        cell: See `contact_sheet`.
    """
    places = [k / (rows - 1) for k in range(rows)]
    first = torch.arange(len(curve.info.classes)) * (curve.x.shape[1] // len(curve.info.classes))
    sets = [curve.at(**{curve.losses[1]: w}) for w in places]
    rows_of = [_tiles(replace(one, x=one.x[first], labels=one.labels[first]), cell) for one in sets]
    height, width = rows_of[0].shape[1:3]
    font, margin = ImageFont.load_default(11), 40
    size = (margin + len(first) * (width + _GAP), _GAP + rows * (height + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for r, (w, tiles) in enumerate(zip(places, rows_of, strict=True)):
        top = _GAP + r * (height + _GAP)
        draw.text((margin - _GAP, top + height / 2), f"{w:.3g}", fill=_INK, font=font, anchor="rm")
        for c, tile in enumerate(tiles):
            sheet.paste(Image.fromarray(tile), (margin + c * (width + _GAP), top))
    return sheet


def _tiles(synthetic: SyntheticSet, cell: int) -> np.ndarray:
    """Stored records as enlarged uint8 pictures (M, height, width, 3)."""
    values = synthetic.x.detach().cpu().numpy()
    if not synthetic.info.is_image:
        values = values.reshape(len(values), 1, -1, 1)
        values = (3 * values - np.arange(3)).clip(0, 1)
    elif values.shape[1] != 3:
        values = values.mean(1)[..., None].repeat(3, axis=-1)
    else:
        values = values.transpose(0, 2, 3, 1)
    scale = max(1, cell // max(values.shape[1:3]))
    tall = scale if synthetic.info.is_image else max(scale, 14)
    pixels = (values * 255).round().astype(np.uint8)
    return pixels.repeat(tall, axis=1).repeat(scale, axis=2)
