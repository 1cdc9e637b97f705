"""Evaluate a checkpoint without any config: its own preprocessing and class names, several views a video."""

from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from videosoft._version import __version__
from videosoft.atomic_files import check_output_folder
from videosoft.data import DecoderName, Preprocessing, VideoStorage
from videosoft.errors import InputError
from videosoft.models import load_checkpoint
from videosoft.training.callbacks import PredictionWriter
from videosoft.training.classifier import VideoClassifier
from videosoft.training.configuration import configuration_errors_as_input_errors
from videosoft.training.console import end_by_signal_numbers, silence_advertisements
from videosoft.training.datamodule import KineticsDataModule
from videosoft.training.evaluation_parts import EvaluationParts, has_parts
from videosoft.training.run_failures import failures_as_input_errors

OUTPUT_NAMES = ("metrics.json", "predictions.parquet")


def evaluate_checkpoint(
    ckpt_path: str | Path,
    *,
    root: str | Path,
    split: str,
    source: VideoStorage = "files",
    annotations: str | None = None,
    decoder: DecoderName = "decord",
    views: str,
    output_dir: Path,
    batch_size: int,
    num_workers: int,
    short_videos: Literal["skip", "loop"],
    accelerator: str,
    devices: int | str = 1,
    command: str,
    overwrite: bool = False,
) -> None:
    """Write predictions, metrics and pictures of one split into ``output_dir`` and print the table.

    Labels are matched to the checkpoint's classes by name. Videos that are missing, unreadable or too short have a
    row of their own and are counted. An interrupted evaluation goes on where it was when it is started in the same way.

    Args:
        ckpt_path: a checkpoint of ``lightning fit``.
        root: folder in Kinetics layout.
        split: which split of it.
        source: ``"litdata"`` where ``<root>/<split>`` holds LitData chunks.
        annotations: list of the videos, if not ``<root>/<split>.csv``; a manifest is one too.
        decoder: the library that decodes.
        views: CLIPSxCROPS, such as ``"10x3"``, or ``"windows"``.
        output_dir: made when it is not there.
        batch_size: clips per forward pass.
        num_workers: processes that decode.
        short_videos: ``"skip"`` or ``"loop"``, see :class:`KineticsDataModule`.
        accelerator: as Lightning's Trainer takes it.
        devices: processes that share the videos, a device each, or "auto" for all devices; the results are the same.
        command: the command line, kept in metrics.json.
        overwrite: replace an earlier evaluation in ``output_dir``, and forget what an interrupted one has left there.

    Raises:
        InputError: on a checkpoint or data that cannot be used, an output folder that cannot be written to or holds an
            evaluation, or an interrupted evaluation with other settings.
    """
    check_output_folder(output_dir)
    # What lies beside the parts of an interrupted evaluation is older, or not all of its results.
    is_finished = any((output_dir / name).exists() for name in OUTPUT_NAMES) and not has_parts(output_dir)
    if is_finished and not overwrite:
        raise InputError(f"{output_dir} already holds an evaluation: pass --overwrite, or another --output.")
    silence_advertisements()
    loaded = load_checkpoint(ckpt_path)
    data = KineticsDataModule(
        str(root),
        test_split=split,
        source=source,
        annotations=annotations,
        decoder=decoder,
        **Preprocessing.from_dict(loaded.preprocessing).to_dict(),
        short_videos=short_videos,
        batch_size=batch_size,
        num_workers=num_workers,
        test_views=views,
        class_names=list(loaded.class_names),
    )
    settings = {
        "checkpoint_hash": loaded.metadata["checkpoint_hash"],
        "views": views,
        "source": source,
        # The same list may lie beside videos of another size.
        "root": str(Path(root).resolve() if Path(root).is_dir() else root),
        "split": split,
        "decoder": decoder,
        "short_videos": short_videos,
        "versions": {"videosoft": __version__, "torch": torch.__version__},
    }
    parts = EvaluationParts(output_dir, settings, class_names=loaded.class_names)
    if overwrite:
        parts.remove()
    callbacks = [
        TQDMProgressBar(leave=True),
        PredictionWriter(output_dir, checkpoint_hash=loaded.metadata["checkpoint_hash"], command=command, parts=parts),
    ]
    with configuration_errors_as_input_errors():
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=devices,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=callbacks,
        )
    with failures_as_input_errors(trainer, data, run_dir=None), end_by_signal_numbers():
        trainer.test(VideoClassifier.from_loaded(loaded), datamodule=data, verbose=False)
