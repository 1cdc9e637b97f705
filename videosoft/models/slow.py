"""The Slow pathway alone (Feichtenhofer et al., SlowFast, ICCV 2019), by pytorchvideo's own builder."""

from torch import nn

from videosoft.errors import InputError
from videosoft.layers import create_pool3d
from videosoft.models.registry import register_model


@register_model
def slow_r50(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    dropout: float = 0.5,
    head_pool_kernel_size: tuple[int, int, int] = (8, 7, 7),
) -> nn.Module:
    """pytorchvideo's slow_r50: 33.07 M parameters with 700 classes, 41.92 G MACs at 8 x 224^2.

    ``head_pool_kernel_size`` is the size of the last feature map, (T, H/32, W/32): (8, 7, 7) for 8 x 224^2. A smaller
    clip needs a smaller one; a larger clip is scored at every position and averaged. ``pool_kernel=k`` makes the stem's
    pool (1, k, k) with stride (1, 2, 2) and no padding; ``temperature`` is SoftPool's (1 as published).
    """
    # Here, not at the top: pytorchvideo's import costs a second that only this family needs to pay.
    from pytorchvideo.models.resnet import create_resnet

    stem_channels = int(64 * width)
    if stem_channels < 1:
        raise InputError(f"width={width} leaves no channel in the stem (64 x width must be at least 1).")

    def create_stem_pool(
        kernel_size: tuple[int, int, int], stride: tuple[int, int, int], padding: list[int]
    ) -> nn.Module:
        if pool_kernel is None:
            return create_pool3d(pool, kernel_size, stride, tuple(padding), temperature=temperature)
        return create_pool3d(pool, (1, pool_kernel, pool_kernel), stride, 0, temperature=temperature)

    network = create_resnet(
        model_depth=50,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=stem_channels,
        stem_conv_kernel_size=(1, 7, 7),
        stem_pool=create_stem_pool,
        head_pool_kernel_size=tuple(head_pool_kernel_size),
    )
    network.feature_layer = "blocks.4"
    network.classifier_layer = "blocks.5.proj"
    return network
