"""Predict files with a checkpoint alone: its own preprocessing and class names, no list, no labels."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from videosoft.data import DecoderName, Preprocessing, ShortVideos, collate_clips, normalize_clip, unpack_views
from videosoft.data.unlabelled import UnlabelledVideos
from videosoft.errors import InputError
from videosoft.evaluation import average_views, describe_repeated, write_predictions
from videosoft.explain.export import (
    ExportSettings,
    ListedVideo,
    OutputFolder,
    SaliencyExport,
    list_videos,
    resolve_device,
)
from videosoft.explain.methods import create_method
from videosoft.models import LoadedModel, load_checkpoint
from videosoft.printable import make_printable
from videosoft.training.datamodule import parse_views


def predict_videos(
    ckpt_path: Path,
    paths: Sequence[Path],
    *,
    output_dir: Path,
    views: str,
    num_best: int,
    tube: bool,
    device: str,
    batch_size: int,
    num_workers: int,
    decoder: DecoderName,
    short_videos: ShortVideos,
    overwrite: bool,
    command: Sequence[str],
) -> None:
    """Print the best classes of each video as they come, and write ``predictions.parquet``, labels empty.

    A video that cannot be read, or is too short, is listed, and the others go on.  Interrupted, what is there is kept
    as ``predictions_partial.parquet``.

    Args:
        ckpt_path: a checkpoint of ``lightning fit``.
        paths: files, or folders searched recursively.
        output_dir: made when it is not there.
        views: CLIPSxCROPS, such as ``"10x3"``, or ``"windows"``.
        num_best: classes to print.
        tube: whether to write saliency tubes of each video's prediction into ``<output_dir>/tubes``, seen in its
            middle clip.
        device: "auto", "cpu" or "cuda".
        batch_size: clips per forward pass.
        num_workers: processes that decode.
        decoder: the library that decodes.
        short_videos: ``"skip"`` or ``"loop"``, see :class:`KineticsDataModule`.
        overwrite: whether tubes may take the place of earlier ones.
        command: the command line, kept with the tubes.

    Raises:
        InputError: on a checkpoint, a path or an option that cannot be used, and when no video could be predicted.
    """
    num_clips, num_crops = parse_views(views)
    videos = list_videos(paths, exclude=output_dir)
    tube_folder = OutputFolder(output_dir / "tubes", overwrite=overwrite) if tube else None
    torch_device = resolve_device(device)
    loaded = load_checkpoint(ckpt_path)
    loaded.network.to(torch_device)
    files = [video.path for video in videos]
    names = _name_videos(files)
    dataset = UnlabelledVideos(
        files,
        names,
        preprocessing=Preprocessing.from_dict(loaded.preprocessing),
        num_clips=num_clips,
        num_crops=num_crops,
        short_videos=short_videos,
        decoder=decoder,
    )
    # Windows are as many as a video is long: videos of one batch would differ.
    num_videos = 1 if num_clips == "windows" else max(1, batch_size // (num_clips * num_crops))
    loader = DataLoader(dataset, batch_size=num_videos, num_workers=num_workers, collate_fn=collate_clips)
    rows: list[dict[str, Any]] = []
    num_repeated = 0

    def write(name: str) -> Path:
        output_dir.mkdir(parents=True, exist_ok=True)
        places = {video_id: place for place, video_id in enumerate(names)}
        write_predictions(
            output_dir / name,
            sorted(rows, key=lambda row: places[row["video_id"]]),
            class_names=loaded.class_names,
            checkpoint_hash=loaded.metadata["checkpoint_hash"],
            protocol=views,
        )
        return output_dir / name

    try:
        with tqdm(total=len(videos), unit="video", desc="predict") as progress:
            for batch in loader:
                num_repeated += sum(sample["repeats_frames"] for sample in batch["samples"])
                reasons = {sample["video_id"]: sample["reason"] for sample in batch["failures"]}
                for row in _predict_batch(loaded, batch, batch_size, torch_device):
                    rows.append(row)
                    tqdm.write(_format_row(row, loaded.class_names, num_best, reasons.get(row["video_id"], "")))
                    progress.update()
    except KeyboardInterrupt:
        if rows:
            print(f"{len(rows)} of {len(videos)} videos are in {write('predictions_partial.parquet')}")
        raise
    predicted = {row["video_id"]: row["prediction"] for row in rows if row["status"] == "ok"}
    if not predicted:
        raise InputError(
            f"none of the {len(rows)} videos could be predicted ({_count_failures(rows)}); nothing is written."
        )
    path = write("predictions.parquet")
    failures = _count_failures(rows)
    print(f"{len(predicted)} of {len(rows)} videos predicted{f' ({failures})' if failures else ''}")
    if num_repeated:
        print(describe_repeated(num_repeated))
    print(make_printable(str(path)))
    if tube_folder is not None:
        listed = [
            ListedVideo(name, file, loaded.class_names[predicted[name]])
            for name, file in zip(names, files, strict=True)
            if name in predicted
        ]
        _write_tubes(ckpt_path, listed, tube_folder, device=device, command=command)


@torch.inference_mode()
def _predict_batch(loaded: LoadedModel, batch: Any, batch_size: int, device: torch.device) -> Iterator[dict[str, Any]]:
    for sample in batch["failures"]:
        yield _create_row(sample)
    if not batch["samples"]:
        return
    preprocessing = Preprocessing.from_dict(loaded.preprocessing)

    def classify(clips: Tensor) -> Tensor:
        return loaded.network(normalize_clip(clips, preprocessing.mean, preprocessing.std)).float().cpu()

    num_videos, num_views = len(batch["video"]), len(batch["video"][0])
    videos = [views.to(device) for views in batch["video"]]
    logits = torch.cat([classify(views) for views in unpack_views(videos, batch_size)])
    probabilities, mean_logits = average_views(logits.view(num_videos, num_views, -1))
    for sample, p, z in zip(batch["samples"], probabilities, mean_logits, strict=True):
        values = {
            "prediction": int(p.argmax()),
            "probabilities": p.numpy(),
            "logits": z.numpy(),
            "num_views": num_views,
        }
        yield {**_create_row(sample), **values}


def _create_row(sample: dict[str, Any]) -> dict[str, Any]:
    return {
        "video_id": sample["video_id"],
        "group_id": _make_utf8(sample["group_id"]),
        "path": _make_utf8(_shorten_path(Path(sample["path"]))),
        "label_name": None,
        "label": None,
        "status": sample["status"],
        "prediction": None,
        "probabilities": None,
        "logits": None,
        "num_views": 0,
    }


def _name_videos(files: Sequence[Path]) -> list[str]:
    """The stem of each file; of files that share theirs, the path from their common folder on."""
    common = Path(os.path.commonpath([file.parent for file in files]))
    names = [file.stem for file in files]
    # The second time two files differ in nothing but their suffix.
    for lengthen in (lambda file: file.relative_to(common).with_suffix(""), lambda file: file.relative_to(common)):
        counts = Counter(names)
        names = [
            lengthen(file).as_posix() if counts[name] > 1 else name for file, name in zip(files, names, strict=True)
        ]
    return [_make_utf8(name) for name in names]


def _shorten_path(path: Path) -> str:
    """Relative to the current folder, for what lies in it."""
    folder = Path.cwd()
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _make_utf8(text: str) -> str:
    """File names may have any bytes; Parquet takes UTF-8 alone."""
    return text.encode("utf-8", "backslashreplace").decode()


def _format_row(row: dict[str, Any], class_names: Sequence[str], num_best: int, reason: str) -> str:
    path = make_printable(row["path"])
    if row["status"] != "ok":
        return f"{path}: {row['status']}: {make_printable(reason)}"
    probabilities = row["probabilities"]
    best = (-probabilities).argsort(kind="stable")[:num_best]
    return "\n".join([path, *(f"  {probabilities[k]:7.2%}  {make_printable(class_names[k])}" for k in best)])


def _count_failures(rows: Sequence[dict[str, Any]]) -> str:
    counts = Counter(row["status"] for row in rows)
    return ", ".join(f"{count} {status}" for status, count in counts.items() if status != "ok")


def _write_tubes(
    ckpt_path: Path, videos: Sequence[ListedVideo], folder: OutputFolder, *, device: str, command: Sequence[str]
) -> None:
    """Explain the class that each video was predicted to be, which the export takes for its label."""
    settings = ExportSettings(create_method("saliency_tubes"), target="label")
    export = SaliencyExport([ckpt_path], videos, folder, settings, device=device, command=command)
    outcomes = list(tqdm(export.run(), total=len(videos), unit="video", desc="tubes"))
    for outcome in outcomes:
        if outcome.status != "ok":
            print(make_printable(f"{outcome.video_id}: {outcome.status}: {outcome.reason}"))
    print(make_printable(f"{folder.path}: tubes of {sum(outcome.status == 'ok' for outcome in outcomes)} videos"))
