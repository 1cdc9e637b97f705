"""The average over the last feature map, for clips of any size."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class HeadPool(nn.Module):
    """Averages over every window of ``kernel_size``, or over the whole map where that is smaller.

    (N, C, T, H, W) becomes (N, C, T', H', W'), one cell a window, stride 1. pytorchvideo and torchvision give the
    window the size of the published clip's feature map: a clip of that size has one window, and the scores of a larger
    one are averaged over its windows. Theirs refuse a smaller clip; here it has one window, too.
    """

    def __init__(self, kernel_size: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = ()) -> None:
        # pytorchvideo's builders hand over a stride and a padding, which are always 1 and 0.
        super().__init__()
        self.kernel_size = tuple(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        window = [min(size, length) for size, length in zip(self.kernel_size, x.shape[2:], strict=True)]
        return F.avg_pool3d(x, window, stride=1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}"
