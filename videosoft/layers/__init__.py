"""SoftPool as modules, and the swap of one pooling for another."""

from videosoft.layers.fused import normalize_relu_pool
from videosoft.layers.pooling import POOL_KINDS, ReplacedPooling, create_pool3d, replace_pooling
from videosoft.layers.softpool import SoftPool1d, SoftPool2d, SoftPool3d

__all__ = [
    "POOL_KINDS",
    "ReplacedPooling",
    "SoftPool1d",
    "SoftPool2d",
    "SoftPool3d",
    "create_pool3d",
    "normalize_relu_pool",
    "replace_pooling",
]
