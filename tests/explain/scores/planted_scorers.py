"""Networks on clips whose every voxel's effect on the logits is known."""

from torch import Tensor, nn


class LinearClipNetwork(nn.Module):
    """logits = W x + b on the flattened clip: the exact effect of putting voxel x for baseline z is W (x - z)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.size = weight.shape[1:]  # (K, C, T, H, W)
        self.fc = nn.Linear(weight[0].numel(), weight.shape[0])
        self.fc.weight.data = weight.flatten(1)
        self.fc.bias.data.zero_()
        self.eval()

    def forward(self, clips: Tensor) -> Tensor:
        return self.fc(clips.flatten(1))

    def attribute(self, clips: Tensor, baselines: Tensor, targets: Tensor) -> Tensor:
        """The difference that each voxel makes to the target's logit less the mean of the others', (N, T, H, W)."""
        weight = self.fc.weight.detach().view(-1, *self.size)
        num_classes = len(weight)
        others = (weight.sum(0) - weight[targets]) / (num_classes - 1)
        return ((weight[targets] - others) * (clips - baselines)).sum(dim=1)
