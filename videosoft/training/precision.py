"""float16 on a CPU, which torch can and Lightning does not pass on."""

import lightning as L
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import rank_zero_info


def use_float16_on_cpu(trainer: L.Trainer, precision: object) -> None:
    """Let ``trainer.precision: 16-mixed`` mean float16 with a gradient scaler on a CPU, too.

    Lightning (2.6) replaces it there by bfloat16 with a warning, from the time when torch had neither float16
    convolutions nor a gradient scaler for CPUs.
    """
    if precision == "16-mixed" and trainer.strategy.root_device.type == "cpu":
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu")
        rank_zero_info("precision 16-mixed on a CPU: float16 with a gradient scaler, which most CPUs compute slowly")
