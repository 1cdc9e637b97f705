"""S3D (Xie et al., ECCV 2018), by torchvision; its published weights load as they are."""

from torch import nn

from videosoft.errors import InputError
from videosoft.layers import create_pool3d
from videosoft.models.head_pool import HeadPool
from videosoft.models.registry import register_model
from videosoft.models.torchvision_resnets import check_full_width


@register_model
def s3d(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    dropout: float = 0.2,
) -> nn.Module:
    """torchvision's s3d: 8.32 M parameters with 400 classes, 17.98 G MACs at 16 x 224^2.

    An Inception: ``pool`` is that of all its max poolings, four between the stages and one in each of the nine blocks,
    as the SoftPool paper has it. They keep their windows, and ``pool_kernel`` must be None. ``width`` must be 1. The
    linear layer is a 1x1x1 convolution.
    """
    from torchvision.models import video

    check_full_width("s3d", width)
    if pool_kernel is not None:
        raise InputError(f"pool_kernel={pool_kernel}: s3d has poolings of several windows, leave pool_kernel out.")
    if pool == "avg":
        # AvgPool3d refuses a map that is shorter than its window, even where padding fills it up, and the last blocks
        # have two frames of a clip of 16. SoftPool of temperature 0 is the same average.
        create_pool3d(pool, 1, temperature=temperature)  # refuses a temperature, which average pooling has not
        pool, temperature = "soft", 0.0
    network = video.s3d(num_classes=num_classes, dropout=dropout)
    pools = {name: module for name, module in network.named_modules() if isinstance(module, nn.MaxPool3d)}
    for name, module in pools.items():
        own = create_pool3d(pool, module.kernel_size, module.stride, module.padding, temperature=temperature)
        network.set_submodule(name, own)
    network.avgpool = HeadPool((2, 7, 7))
    network.feature_layer = "features"
    network.classifier_layer = "classifier.1"
    return network
