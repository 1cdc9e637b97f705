"""What the checkpoint files of a run are called."""

CHECKPOINTS_FOLDER = "checkpoints"
BEST_NAME = "best.ckpt"
LAST_NAME = "last.ckpt"
PREVIOUS_NAME = "last-previous.ckpt"
