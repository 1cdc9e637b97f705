"""The Slow pathway alone (Feichtenhofer et al., SlowFast, ICCV 2019), by pytorchvideo's own builder."""

from torch import nn

from videosoft.models.head_pool import HeadPool
from videosoft.models.registry import register_model
from videosoft.models.stem_pool import choose_stem_pool, count_stem_channels


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
    """pytorchvideo's slow_r50: 33.07 M parameters with 700 classes, 41.74 G MACs at 8 x 224^2, 20.87 G at 4.

    ``head_pool_kernel_size`` is the window of the head's average, as large as the last feature map of 8 x 224^2: a
    smaller clip is averaged as a whole, a larger one is scored at every window (:class:`HeadPool`). ``pool_kernel=k``
    makes the stem's pool (1, k, k) with stride (1, 2, 2) and no padding; ``temperature`` is SoftPool's.
    """
    # Here, not at the top: pytorchvideo's import costs a second that only this family needs to pay.
    from pytorchvideo.models.resnet import create_resnet

    network = create_resnet(
        model_depth=50,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=count_stem_channels(width),
        stem_conv_kernel_size=(1, 7, 7),
        stem_pool=choose_stem_pool(pool, pool_kernel, temperature),
        head_pool=HeadPool,
        head_pool_kernel_size=tuple(head_pool_kernel_size),
    )
    network.feature_layer = "blocks.4"
    network.classifier_layer = "blocks.5.proj"
    return network
