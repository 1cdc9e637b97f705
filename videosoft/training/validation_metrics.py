"""What a validation epoch says: loss and accuracies of one centre clip a video."""

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric


class ValidationMetrics(nn.Module):
    """Loss, top-1 and top-5 as means over all videos of a validation epoch, whichever process has seen them.

    Each is a sum over all processes by a count over all processes: a process with fewer usable videos, or none, counts
    for as many as it has.  The accuracies are exactly those of a single process, the loss up to rounding.  Without any
    usable video they are NaN: a training must not be lost because there was nothing to validate on.
    """

    def __init__(self) -> None:
        super().__init__()
        # Not "warn": a loss that is not a number must show.
        self.loss, self.top1, self.top5 = (MeanMetric(nan_strategy="disable") for _ in range(3))

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits (N, K) and labels (N,)."""
        best = logits.topk(min(5, logits.shape[1])).indices
        self.loss.update(F.cross_entropy(logits, labels, reduction="none"))
        self.top1.update((best[:, 0] == labels).float())
        self.top5.update((best == labels[:, None]).any(dim=1).float())

    def named_metrics(self) -> dict[str, MeanMetric]:
        """The metrics by the names that they are logged by; all processes must log them."""
        return {"val/loss": self.loss, "val/1x1_top1": self.top1, "val/1x1_top5": self.top5}
