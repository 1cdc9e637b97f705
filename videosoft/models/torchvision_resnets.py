"""The 18-layer video ResNets of Tran et al. (CVPR 2018), by torchvision: `r3d_18`, `mc3_18` and `r2plus1d_18`.

Its published weights load as they are.
"""

from collections.abc import Callable

from torch import nn

from videosoft.errors import InputError
from videosoft.models.pooled_shortcuts import place_pools
from videosoft.models.registry import register_model


def check_full_width(name: str, width: float) -> None:
    """See that nobody asks torchvision for another number of channels than it has.

    Raises:
        InputError: the width is not 1.
    """
    if width != 1:
        raise InputError(
            f"width={width}: torchvision builds {name} with the published channels only, leave width at 1."
        )


def _register_resnet(name: str, summary: str) -> Callable[..., nn.Module]:
    def build(
        *,
        num_classes: int,
        pool: str = "max",
        width: float = 1.0,
        pool_kernel: int | None = None,
        temperature: float = 1.0,
        pooled_shortcuts: bool = False,
    ) -> nn.Module:
        from torchvision.models import video

        check_full_width(name, width)
        network = getattr(video, name)(num_classes=num_classes)
        place_pools(
            network,
            name=name,
            pool=pool,
            pool_kernel=pool_kernel,
            temperature=temperature,
            pooled_shortcuts=pooled_shortcuts,
        )
        network.feature_layer = "layer4"
        network.classifier_layer = "fc"
        return network

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{summary}

    The published network has no pooling; ``pooled_shortcuts=True`` puts ``pool`` into its strided shortcuts
    (:func:`videosoft.models.pooled_shortcuts.place_pools`). ``width`` must be 1.
    """
    return register_model(build)


r3d_18 = _register_resnet(
    "r3d_18",
    "torchvision's r3d_18, 3x3x3 throughout: 33.37 M parameters with 400 classes, 40.70 G MACs at 16 x 112^2.",
)
mc3_18 = _register_resnet(
    "mc3_18",
    "torchvision's mc3_18, 3-D in its first stage: 11.70 M parameters with 400 classes, 43.34 G MACs at 16 x 112^2.",
)
r2plus1d_18 = _register_resnet(
    "r2plus1d_18",
    "torchvision's r2plus1d_18, (2+1)-D: 31.51 M parameters with 400 classes, 40.52 G MACs at 16 x 112^2.",
)
