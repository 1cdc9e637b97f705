"""How large the network is."""

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from videosoft.training.classifier import VideoClassifier


class NetworkSummary(L.Callback):
    """Say in one line which network is trained, instead of Lightning's table of one row."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, VideoClassifier)
        assert pl_module.network is not None
        assert pl_module.preprocessing is not None
        config, size = pl_module.network_config, pl_module.preprocessing
        sizes = {True: 0, False: 0}
        for parameter in pl_module.network.parameters():
            sizes[parameter.requires_grad] += parameter.numel()
        frozen = f", {sizes[False]:,} more frozen" if sizes[False] else ""
        rank_zero_info(
            f"network: {config.name}, pool {config.pool}, {sizes[True]:,} parameters{frozen}, "
            f"clips of {size.num_frames} x {size.crop} x {size.crop}"
        )
