"""How large the network is."""

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from videosoft.models import count_macs, count_parameters
from videosoft.training.classifier import VideoClassifier


class NetworkSummary(L.Callback):
    """Say in one line which network is trained, instead of Lightning's table of one row."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, VideoClassifier)
        assert pl_module.network is not None
        assert pl_module.preprocessing is not None
        config, size = pl_module.network_config, pl_module.preprocessing
        num_parameters = count_parameters(pl_module.network) / 1e6
        clip_size = (size.num_frames, size.crop, size.crop)
        num_macs = count_macs(pl_module.network, clip_size) / 1e9
        rank_zero_info(
            f"network: {config.name}, pool {config.pool}, {num_parameters:.3g} M parameters, "
            f"{num_macs:.3g} G multiply-adds a clip of {' x '.join(map(str, clip_size))}"
        )
