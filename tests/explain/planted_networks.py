"""Networks whose inner values a test knows, or that are small and of an unusual build."""

import torch
from torch import Tensor, nn

from videosoft.layers import SoftPool3d


class PlantedNetwork(nn.Module):
    """The activation is the clip itself, so that numpy knows it; the head is average (or max) pooling + linear."""

    feature_layer = "features"
    classifier_layer = "head.fc"

    def __init__(self, weight: Tensor, bias: Tensor | None, pool: str = "avg") -> None:
        super().__init__()
        self.features = nn.Identity()
        self.head = nn.ModuleDict({"fc": nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)})
        self.head["fc"].weight.data = weight
        if bias is not None:
            self.head["fc"].bias.data = bias
        self.pool = pool
        self.num_forwards = 0
        self.eval()

    def forward(self, clips: Tensor) -> Tensor:
        self.num_forwards += len(clips)
        activation = self.features(clips)
        pooled = activation.mean((2, 3, 4)) if self.pool == "avg" else activation.amax((2, 3, 4))
        return self.head["fc"](pooled)


def create_planted_network(num_classes: int = 4, *, bias: bool = True, pool: str = "avg") -> PlantedNetwork:
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(num_classes, 3, generator=generator)
    return PlantedNetwork(weight, torch.randn(num_classes, generator=generator) if bias else None, pool)


class BentNetwork(nn.Module):
    """Convolutions, SoftPool, an in-place ReLU that is used twice, and a head of flatten + two linear layers."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = SoftPool3d(2)
        self.second = nn.Conv3d(6, 8, 3, padding=1, groups=2)
        self.feature_layer = "second"
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 2 * 4 * 4, 10), nn.GELU(), nn.Linear(10, num_classes))
        self.spare = nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        """Clips are (N, 3, 4, 8, 8)."""
        x = self.pool(self.relu(self.first(clips)))
        return self.head(self.relu(self.second(x)))


def create_bent_network(seed: int = 3) -> BentNetwork:
    torch.manual_seed(seed)
    return BentNetwork().eval()


def create_clips(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
