"""The recipe card of a run, in its folder and in its checkpoints."""

from pathlib import Path

import lightning as L

from videosoft.atomic_files import replace_when_done, write_json
from videosoft.models import format_card
from videosoft.training.classifier import VideoClassifier
from videosoft.training.recipe_card import JSON_NAME, PAGE_NAME, describe_run


class RecipeCardWriter(L.Callback):
    """Write ``recipe_card.json`` and ``recipe_card.md`` when the training begins; every checkpoint holds the same."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, VideoClassifier)
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # asked for in all processes, it is handed round
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):  # a trial leaves no run
            return
        pl_module.run_details = describe_run(pl_module.network_size)
        card = pl_module.create_card()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JSON_NAME, card)
        with replace_when_done(folder / PAGE_NAME) as temporary_path:
            temporary_path.write_text(format_card(card), encoding="utf-8")
