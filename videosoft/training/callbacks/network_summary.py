"""How large the network is."""

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from videosoft.training.classifier import VideoClassifier


class NetworkSummary(L.Callback):
    """Say in one line which network is trained, instead of Lightning's table of one row."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, VideoClassifier)
        config, size = pl_module.network_config, pl_module.network_size
        rank_zero_info(
            f"network: {config.name}, pool {config.pool}, {size.num_parameters / 1e6:.3g} M parameters, "
            f"{size.num_macs / 1e9:.3g} G multiply-adds a clip of {' x '.join(map(str, size.clip_size))}"
        )
