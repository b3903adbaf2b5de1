"""T and S: real data and its sources, synthetic sets and their storage, augmentation."""

from moc.data.arrays import load_npz
from moc.data.augment import Augmentation, Draw
from moc.data.digits import load_digits
from moc.data.folder import load_folder
from moc.data.idx import find_fashion_mnist, load_idx
from moc.data.real import DataInfo, RealData
from moc.data.sources import SOURCES, load
from moc.data.storage import load_set, save_set
from moc.data.synthetic import Decoder, SyntheticSet, balanced_labels, one_hot

__all__ = [
    "SOURCES",
    "Augmentation",
    "DataInfo",
    "Decoder",
    "Draw",
    "RealData",
    "SyntheticSet",
    "balanced_labels",
    "find_fashion_mnist",
    "load",
    "load_digits",
    "load_folder",
    "load_idx",
    "load_npz",
    "load_set",
    "one_hot",
    "save_set",
]
