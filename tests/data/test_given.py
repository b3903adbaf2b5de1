from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import moc
from moc.data.vault import unseal
from moc.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)
Y = [1, 2, 3, 1, 2, 3]


class Pictures(Dataset):
    """As torchvision's: PIL images, a length, and items that never end by themselves."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, k):
        return Image.fromarray(self.pixels[k % len(self.pixels)]), Y[k % len(Y)]


@pytest.mark.parametrize(
    ("x", "y"), [(X, Y), (X.tolist(), Y), (torch.from_numpy(X), torch.tensor(Y))]
)
def test_arrays_lists_and_tensors_are_sealed(x, y):
    data = moc.from_arrays(x, y, name="toy", bounds=(0, 255), mirrored=True)
    assert (data.info.name, data.info.shape, data.info.mirrored) == ("toy", (1, 4, 5), True)
    np.testing.assert_allclose(unseal(data).x[:, 0], X / 255, atol=1e-7)
    assert unseal(data).y.tolist() == [0, 1, 2, 0, 1, 2]


def test_classes_may_be_declared():
    data = moc.from_arrays(X, ["owl", "cat"] * 3, classes=("owl", "cat", "dog"))
    assert (data.info.classes, unseal(data).y.tolist()) == (("owl", "cat", "dog"), [0, 1] * 3)


def test_datasets_of_torch_are_sealed_whatever_their_items_are():
    tensors = TensorDataset(torch.from_numpy(X)[:, None] / 255, torch.tensor(Y))
    pictures = Pictures(np.stack([X] * 3, axis=3))
    assert moc.from_dataset(tensors).info.shape == (1, 4, 5)
    data = moc.from_dataset(pictures, name="pictures")
    assert (data.info.shape, data.info.name) == ((3, 4, 5), "pictures")
    assert torch.equal(unseal(data).x[:, 2], torch.from_numpy(X))
    stream = moc.from_dataset((x, y) for x, y in tensors)
    assert stream.fingerprint() == moc.from_dataset(tensors).fingerprint()


def test_what_are_no_records_is_refused():
    with pytest.raises(DataError, match=r"\(record, label\) pairs expected"):
        moc.from_dataset([X[0], X[1]])
    with pytest.raises(DataError, match="Records of one shape expected"):
        moc.from_dataset([(X[0], 0), (X[0, :2], 1)])
    with pytest.raises(DataError, match="rows of several lengths"):
        moc.from_arrays([[1.0], [1.0, 0.0]], [0, 1])
    with pytest.raises(DataError, match=r"found int64, .*range"):
        moc.from_arrays(X.astype(np.int64), Y)
