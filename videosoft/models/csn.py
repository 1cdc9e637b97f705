"""Channel-separated networks (Tran et al., ICCV 2019), by pytorchvideo's own builder."""

from torch import nn

from videosoft.models.head_pool import HeadPool
from videosoft.models.registry import register_model
from videosoft.models.stem_pool import choose_stem_pool, count_stem_channels


@register_model
def csn_r101(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    dropout: float = 0.5,
) -> nn.Module:
    """pytorchvideo's csn_r101 (32x2): 22.21 M parameters with 400 classes, 73.76 G MACs at 32 x 256^2.

    Its bottlenecks convolve each channel by itself (3x3x3, depthwise), between 1x1x1 convolutions: the
    interaction-reduced network of the paper. ``pool_kernel=k`` makes the stem's pool (1, k, k) with stride (1, 2, 2)
    and no padding; ``temperature`` is SoftPool's.
    """
    from pytorchvideo.models.csn import create_csn

    network = create_csn(
        model_depth=101,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=count_stem_channels(width),
        stem_pool=choose_stem_pool(pool, pool_kernel, temperature),
        head_pool=HeadPool,
        head_pool_kernel_size=(4, 7, 7),
    )
    network.feature_layer = "blocks.4"
    network.classifier_layer = "blocks.5.proj"
    return network
