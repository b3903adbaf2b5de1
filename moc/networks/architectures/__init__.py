"""Architectures, one file each; study files know them by short names such as `convnet3-w128`."""

from moc.networks.architectures.base import (
    ARCHITECTURES,
    AnyNetwork,
    Architecture,
    default_network,
    parse_network,
)

__all__ = ["ARCHITECTURES", "AnyNetwork", "Architecture", "default_network", "parse_network"]
