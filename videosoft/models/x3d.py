"""X3D (Feichtenhofer, CVPR 2020), by pytorchvideo's own builder: `x3d_xs`, `x3d_s`, `x3d_m` and `x3d_l`."""

from collections.abc import Callable

from torch import nn

from videosoft.models.head_pool import HeadPool
from videosoft.models.pooled_shortcuts import place_pools
from videosoft.models.registry import register_model


def _register_x3d(
    name: str, summary: str, *, depth_factor: float, head_pool_kernel_size: tuple[int, int, int]
) -> Callable[..., nn.Module]:
    def build(
        *,
        num_classes: int,
        pool: str = "max",
        width: float = 1.0,
        pool_kernel: int | None = None,
        temperature: float = 1.0,
        pooled_shortcuts: bool = False,
        dropout: float = 0.5,
    ) -> nn.Module:
        from pytorchvideo.models.x3d import create_x3d

        network = create_x3d(
            model_num_class=num_classes,
            dropout_rate=dropout,
            width_factor=2.0 * width,
            depth_factor=depth_factor,
            head_dim_out=max(1, int(2048 * width)),
            head_activation=None,
        )
        network.blocks[5].pool.pool = HeadPool(head_pool_kernel_size)
        place_pools(
            network,
            name=name,
            pool=pool,
            pool_kernel=pool_kernel,
            temperature=temperature,
            pooled_shortcuts=pooled_shortcuts,
        )
        # The head averages what its first 1x1x1 convolution puts out; a second one and a ReLU come before the linear
        # layer, so that methods which need average and linear layer next to each other do not apply.
        network.feature_layer = "blocks.5.pool.pre_act"
        network.classifier_layer = "blocks.5.proj"
        return network

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{summary}

    The published network has no pooling; ``pooled_shortcuts=True`` puts ``pool`` into its strided shortcuts
    (:func:`videosoft.models.pooled_shortcuts.place_pools`). With another ``width`` than 1 channels come in eights.
    Logits come out, where pytorchvideo's own has a softmax.
    """
    return register_model(build)


x3d_xs = _register_x3d(
    "x3d_xs",
    "X3D-XS: 3.79 M parameters with 400 classes, 0.61 G MACs at 4 x 160^2.",
    depth_factor=2.2,
    head_pool_kernel_size=(4, 5, 5),
)
x3d_s = _register_x3d(
    "x3d_s",
    "X3D-S: 3.79 M parameters with 400 classes, 1.96 G MACs at 13 x 160^2.",
    depth_factor=2.2,
    head_pool_kernel_size=(13, 5, 5),
)
x3d_m = _register_x3d(
    "x3d_m",
    "X3D-M: 3.79 M parameters with 400 classes, 4.73 G MACs at 16 x 224^2.",
    depth_factor=2.2,
    head_pool_kernel_size=(16, 7, 7),
)
x3d_l = _register_x3d(
    "x3d_l",
    "X3D-L: 6.15 M parameters with 400 classes, 18.4 G MACs at 16 x 312^2.",
    depth_factor=5.0,
    head_pool_kernel_size=(16, 10, 10),
)
