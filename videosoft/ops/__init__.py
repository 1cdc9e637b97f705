"""SoftPool as functions: one operator, its reference in plain PyTorch and its compiled kernels."""

from videosoft.ops._library import describe_backends
from videosoft.ops.softpool import softpool1d, softpool2d, softpool3d
from videosoft.ops.softpool_relu import softpool_relu2d, softpool_relu3d

__all__ = ["describe_backends", "softpool1d", "softpool2d", "softpool3d", "softpool_relu2d", "softpool_relu3d"]
