"""T and S: real data and its sources, synthetic sets and their storage, augmentation."""

from moc.data.augment import Augmentation
from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.data.sources import SOURCES, Source
from moc.data.storage import load_set, save_set
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.data.vault import RealData

__all__ = [
    "SOURCES",
    "Augmentation",
    "DataInfo",
    "Decoder",
    "RealData",
    "Source",
    "SyntheticSet",
    "balanced_labels",
    "load_set",
    "one_hot",
    "save_set",
]
