"""For tests that need the real Fashion-MNIST and are skipped where it is not installed."""

import pytest

from moc.data.sources.idx import find_fashion_mnist
from moc.errors import DataError


def installed() -> bool:
    try:
        return find_fashion_mnist().is_dir()
    except DataError:
        return False


needs_fashion_mnist = pytest.mark.skipif(
    not installed(), reason="Fashion-MNIST is not on this machine"
)
