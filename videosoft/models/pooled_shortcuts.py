"""A place for poolings in networks that have none: their strided shortcuts.

docs/decisions/0014-pooling-where-there-is-none.md says why there.
"""

from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.layers import create_pool3d


class PooledProjection(nn.Conv3d):
    """A 1x1x1 convolution of its pooled input, in place of one with that stride: ResNet-D's shortcut.

    The strided convolution sees one cell of each window, this one all of them; weights, shapes and multiply-adds are
    the same. Source: He et al., Bag of Tricks, CVPR 2019 (there average pooling, 2-D).
    """

    def __init__(self, strided: nn.Conv3d, pool: nn.Module) -> None:
        super().__init__(strided.in_channels, strided.out_channels, kernel_size=1, bias=strided.bias is not None)
        self.weight, self.bias = strided.weight, strided.bias
        self.pool = pool

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.pool(input))


def place_pools(
    network: nn.Module,
    *,
    name: str,
    pool: str,
    pool_kernel: int | None,
    temperature: float,
    pooled_shortcuts: bool,
) -> None:
    """Put poolings into the strided shortcuts of a network without any, or see that none was asked for.

    Args:
        network: changed in place; its parameters and their names stay.
        name: of the network, for messages.
        pool: "soft", "max" or "avg"; anything but "max", which every network has when nobody asks for another, needs
            ``pooled_shortcuts``.
        pool_kernel: must be None: the windows are the strides.
        temperature: SoftPool's.
        pooled_shortcuts: whether there are poolings at all.

    Raises:
        InputError: a pooling, window or temperature is asked for where there is none.
    """
    if pool_kernel is not None:
        raise InputError(f"pool_kernel={pool_kernel}: {name} has no pooling in its stem, leave pool_kernel out.")
    if not pooled_shortcuts:
        if pool != "max" or temperature != 1:
            raise InputError(
                f"pool={pool!r}, temperature={temperature}: {name} has no pooling layer, its convolutions stride. "
                "Set pooled_shortcuts=True to pool before the 1x1x1 convolutions of its strided shortcuts (ResNet-D)."
            )
        return
    strided = {
        key: module
        for key, module in network.named_modules()
        if isinstance(module, nn.Conv3d) and module.kernel_size == (1, 1, 1) and max(module.stride) > 1
    }
    for key, module in strided.items():
        # ceil_mode: an odd length keeps the half cell at its end, as the strided convolution beside it does.
        window = create_pool3d(pool, module.stride, module.stride, ceil_mode=True, temperature=temperature)
        network.set_submodule(key, PooledProjection(module, window))
