"""3-D ResNets as Hara et al. define them: `r3d50`, and the narrower-waisted `r3d50_stergiou`.

Module names are those of the published checkpoints (https://github.com/kenshohara/3D-ResNets-PyTorch), so their
weights load as they are. docs/decisions/0004-which-r3d-50.md says why pytorchvideo's builder does not serve here.
"""

from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.layers import create_pool3d, normalize_relu_pool
from videosoft.models.registry import register_model


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 (carrying the stride in t, h and w), 1x1x1, with a projection where the shapes differ."""

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        out_channels = channels * expansion
        self.conv1 = nn.Conv3d(in_channels, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(channels)
        self.conv3 = nn.Conv3d(channels, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm3d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + shortcut)


class ResNet3d(nn.Module):
    """Stem, one pooling layer, four stages of bottlenecks, global average pool, linear head.

    A clip (N, 3, T, H, W) leaves the last stage as (N, C, ceil(T/16), ceil(H/32), ceil(W/32)): 16 frames have one
    time step left there.
    """

    feature_layer = "layer4"
    classifier_layer = "fc"

    def __init__(
        self,
        *,
        stem_kernel: tuple[int, int, int],
        stage_blocks: tuple[int, int, int, int],
        expansion: int,
        num_classes: int,
        pool: str,
        pool_kernel: int | None,
        temperature: float,
        fuse_stem: bool,
        width: float,
        dropout: float,
        zero_init_last_norm: bool,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout={dropout}: must lie in [0, 1).")
        if fuse_stem and pool != "soft":
            raise InputError(f"fuse_stem=True belongs to pool='soft': leave it out with pool={pool!r}")
        channels = [int(base * width) for base in (64, 128, 256, 512)]
        if channels[0] < 1:
            raise InputError(f"width={width} leaves no channel in the stem (64 x width must be at least 1).")
        stem_padding = (stem_kernel[0] // 2, stem_kernel[1] // 2, stem_kernel[2] // 2)
        self.conv1 = nn.Conv3d(3, channels[0], stem_kernel, stride=(1, 2, 2), padding=stem_padding, bias=False)
        self.bn1 = nn.BatchNorm3d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        # pool_kernel=2 is the published swap: SoftPool(2, 2) without padding in place of MaxPool(3, 2, 1).
        kernel, padding = (3, 1) if pool_kernel is None else (pool_kernel, 0)
        self.maxpool = create_pool3d(pool, kernel, 2, padding, temperature=temperature)
        self.fuse_stem = fuse_stem
        self.layer1 = _create_stage(channels[0], channels[0], stage_blocks[0], expansion, stride=1)
        self.layer2 = _create_stage(channels[0] * expansion, channels[1], stage_blocks[1], expansion, stride=2)
        self.layer3 = _create_stage(channels[1] * expansion, channels[2], stage_blocks[2], expansion, stride=2)
        self.layer4 = _create_stage(channels[2] * expansion, channels[3], stage_blocks[3], expansion, stride=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[3] * expansion, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_last_norm and isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)  # (N, C, T, H/2, W/2)
        if self.fuse_stem:
            x = normalize_relu_pool(x, self.bn1, self.relu, self.maxpool)
        else:
            x = self.maxpool(self.relu(self.bn1(x)))  # (N, C, T/2, H/4, W/4)
        x = self.layer1(x)
        x = self.layer2(x)  # (N, 2C, T/4, H/8, W/8) times the expansion
        x = self.layer3(x)
        x = self.layer4(x)  # (N, 8C, T/16, H/32, W/32) times the expansion
        x = self.avgpool(x).flatten(1)
        return self.fc(self.dropout(x))


def _create_stage(in_channels: int, channels: int, num_blocks: int, expansion: int, *, stride: int) -> nn.Sequential:
    blocks = [Bottleneck(in_channels, channels, expansion, stride)]
    blocks += [Bottleneck(channels * expansion, channels, expansion, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(*blocks)


@register_model
def r3d50(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    fuse_stem: bool = False,
    dropout: float = 0.0,
    zero_init_last_norm: bool = False,
) -> ResNet3d:
    """Hara et al.'s 3D-ResNet-50 (CVPR 2018), 47.63 M parameters with 700 classes, 10.1 G MACs at 16 x 112^2.

    ``pool`` replaces the stem's MaxPool3d(3, 2, 1) with the same window; ``pool_kernel=2`` takes the SoftPool paper's
    window (kernel 2, stride 2, no padding) instead. ``temperature`` is SoftPool's (1 as published). ``fuse_stem`` takes
    batch norm, ReLU and SoftPool of the stem together (:func:`videosoft.layers.normalize_relu_pool`), with the same
    weights and, to rounding, the same numbers.
    ``zero_init_last_norm`` lets every bottleneck begin as its shortcut (Goyal et al., 2017), which Hara's recipe does
    not; a short training from scratch gains by it.
    """
    return ResNet3d(
        stem_kernel=(7, 7, 7),
        stage_blocks=(3, 4, 6, 3),
        expansion=4,
        num_classes=num_classes,
        pool=pool,
        pool_kernel=pool_kernel,
        temperature=temperature,
        fuse_stem=fuse_stem,
        width=width,
        dropout=dropout,
        zero_init_last_norm=zero_init_last_norm,
    )


@register_model
def r3d50_stergiou(
    *,
    num_classes: int,
    pool: str = "max",
    width: float = 1.0,
    pool_kernel: int | None = None,
    temperature: float = 1.0,
    fuse_stem: bool = False,
    dropout: float = 0.0,
    zero_init_last_norm: bool = False,
) -> ResNet3d:
    """The r3d-50 of the SoftPool and SRTG authors, 36.88 M parameters with 700 classes, 26.5 G MACs at 16 x 224^2.

    :func:`r3d50` with bottleneck expansion 1 and a stem of 3x7x7, without which neither of these figures comes out.
    """
    return ResNet3d(
        stem_kernel=(3, 7, 7),
        stage_blocks=(3, 4, 6, 3),
        expansion=1,
        num_classes=num_classes,
        pool=pool,
        pool_kernel=pool_kernel,
        temperature=temperature,
        fuse_stem=fuse_stem,
        width=width,
        dropout=dropout,
        zero_init_last_norm=zero_init_last_norm,
    )
