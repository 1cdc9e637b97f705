"""R(2+1)D (Tran et al., CVPR 2018) with 50 layers, by pytorchvideo's own builder."""

from torch import nn

from videosoft.models.head_pool import HeadPool
from videosoft.models.pooled_shortcuts import place_pools
from videosoft.models.registry import register_model
from videosoft.models.stem_pool import count_stem_channels


@register_model
def r2plus1d_r50(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    pooled_shortcuts: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """pytorchvideo's r2plus1d_r50 (16x4): 28.11 M parameters with 400 classes, 75.15 G MACs at 16 x 256^2.

    The published network has no pooling; ``pooled_shortcuts=True`` puts ``pool`` into its strided shortcuts
    (:func:`place_pools`). Logits come out, where pytorchvideo's own has a softmax.
    """
    from pytorchvideo.models.r2plus1d import create_r2plus1d

    network = create_r2plus1d(
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=count_stem_channels(width),
        head_pool=HeadPool,
        head_pool_kernel_size=(4, 7, 7),
        head_activation=None,
    )
    place_pools(
        network,
        name="r2plus1d_r50",
        pool=pool,
        pool_kernel=pool_kernel,
        temperature=temperature,
        pooled_shortcuts=pooled_shortcuts,
    )
    network.feature_layer = "blocks.4"
    network.classifier_layer = "blocks.5.proj"
    return network
