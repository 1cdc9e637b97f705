"""Kinetics-layout data for Lightning: which split feeds which stage, and how clips are batched."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from videosoft.data import (
    KINETICS_MEAN,
    KINETICS_STD,
    AnnotationFormat,
    Augmentation,
    DecoderName,
    EvaluationSampler,
    KineticsDataset,
    NumClips,
    Preprocessing,
    ResumableLoader,
    Sampling,
    ShortVideos,
    TrainingSampler,
    VideoStorage,
    collate_clips,
    describe_coverage,
    leave_signals_to_the_trainer,
    read_class_names,
)
from videosoft.errors import InputError


def parse_views(views: str) -> tuple[NumClips, int]:
    """``"10x3"`` -> (10 clips, 3 crops); ``"windows"`` -> ("windows", 1 crop), Hara's windows over the whole video.

    Raises:
        InputError: unless it reads CLIPSxCROPS with at least one clip and 1 or 3 crops, or windows.
    """
    if views == "windows":
        return "windows", 1
    clips, separator, crops = views.partition("x")
    if not separator or not clips.isdecimal() or crops not in ("1", "3") or int(clips) < 1:
        raise InputError(
            f"views={views!r}: expected CLIPSxCROPS, such as 10x3, with 1 or 3 crops and at least 1 clip, or windows."
        )
    return int(clips), int(crops)


class KineticsDataModule(L.LightningDataModule):
    """Train, validation and test clips out of one folder.

    Validation takes one centre clip a video (1x1); testing takes ``test_views``. Every stage labels by one list of
    class names: the one given, else that of the training split, else that of the split itself.

    Args:
        root: folder with ``<split>.csv`` and ``<split>/<label>/<id>_<start>_<end>.mp4``.
        train_split: name of the split to train on.
        val_split: name of the split to validate on.
        test_split: name of the split to test and to predict on.
        source: "litdata" where ``<root>/<split>`` holds LitData chunks, in a folder or in object storage.
        annotations: list of the videos, if not ``<root>/<split>.csv``; ``{split}`` in it stands for the split's name.
        annotation_format: of that list, where its content does not tell.
        num_frames: frames of a clip.
        sampling_stride: video frames from one clip frame to the next; null with ``sampling_fps`` or segments.
        sampling_fps: clip frames a second instead, whatever the video's rate.
        sampling: "stride" (a run of frames), "dense" or "segments" (Temporal Segment Networks).
        short_side: short side in pixels before a validation or test crop.
        crop: side in pixels of the square crop that the network sees.
        mean: of each colour channel, on the 0..1 scale.
        std: of each colour channel, on the 0..1 scale.
        augmentation: the random changes to training clips.
        num_repeats: training clips of a video from one decode; a batch has as many fewer videos.
        short_videos: ``"skip"`` counts and lists a video shorter than the clip; ``"loop"`` repeats its frames.
        decoder: the library that decodes.
        time_limit_seconds: for one video; what takes longer is listed as unreadable. Null: no limit.
        batch_size: clips per training step, videos per validation step.
        num_workers: processes that load; each has one more that decodes.
        test_views: CLIPSxCROPS of a test video, or ``windows``.
        class_names: names in the order of the logits: a list, or a file of them, one a line, or JSON.
        seed: of the order of the training videos and of all draws about their clips; null: that of seed_everything.
    """

    def __init__(
        self,
        root: str,
        *,
        train_split: str = "train",
        val_split: str = "val",
        test_split: str = "val",
        source: VideoStorage = "files",
        annotations: str | None = None,
        annotation_format: AnnotationFormat | None = None,
        num_frames: int = 16,
        sampling_stride: int | None = 1,
        sampling_fps: float | None = None,
        sampling: Sampling = "stride",
        short_side: int = 128,
        crop: int = 112,
        mean: tuple[float, float, float] = KINETICS_MEAN,
        std: tuple[float, float, float] = KINETICS_STD,
        augmentation: Augmentation = Augmentation(),  # noqa: B008  (frozen)
        num_repeats: int = 1,
        short_videos: ShortVideos = "skip",
        decoder: DecoderName = "decord",
        time_limit_seconds: float | None = 60.0,
        batch_size: int = 32,
        num_workers: int = 2,
        test_views: str = "10x3",
        class_names: list[str] | str | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"data.batch_size={batch_size}: must be at least 1.")
        if num_workers < 0:
            raise InputError(f"data.num_workers={num_workers}: must be 0 or more.")
        if num_repeats < 1 or batch_size % num_repeats:
            raise InputError(
                f"data.num_repeats={num_repeats}: must be at least 1 and divide data.batch_size={batch_size}."
            )
        self.root = Path(root)
        self._location = root
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.preprocessing = Preprocessing(
            num_frames=num_frames,
            sampling_stride=sampling_stride,
            sampling_fps=sampling_fps,
            sampling=sampling,
            short_side=short_side,
            crop=crop,
            mean=mean,
            std=std,
        )
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.num_repeats = num_repeats
        self.num_workers = num_workers
        self.test_views = parse_views(test_views)
        self._annotations = annotations
        self._reading: dict[str, Any] = {
            "source": source,
            "annotation_format": annotation_format,
            "short_videos": short_videos,
            "decoder": decoder,
            "time_limit_seconds": time_limit_seconds,
        }
        self._seed = seed
        if isinstance(class_names, str):
            class_names = list(read_class_names(class_names))
        self._class_names = tuple(class_names) if class_names else None
        self._datasets: dict[str, KineticsDataset] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._samplers: dict[str, EvaluationSampler] = {}
        self._done: set[int] = set()  # numbers of test videos
        self._train_loader: ResumableLoader | None = None
        self._loader_state: dict[str, Any] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the labels; known after :meth:`setup` or :meth:`use_class_names`."""
        if self._class_names is None:
            raise InputError("the data's class names are not known before setup().")
        return self._class_names

    def use_class_names(self, class_names: Sequence[str]) -> None:
        """Label by a checkpoint's classes, so that logit and label mean the same whatever the CSV's order."""
        self._class_names = tuple(class_names)
        self._datasets.clear()

    def setup(self, stage: str) -> None:
        for role in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}[stage]:
            if role not in self._datasets:
                self._datasets[role] = self._create_dataset(role)
        self._check_splits()

    def get_dataset(self, role: Literal["train", "val", "test"]) -> KineticsDataset:
        """The data set of a role; known after :meth:`setup` of a stage that uses it."""
        return self._datasets[role]

    def describe_data(self) -> dict[str, Any]:
        """Hash and coverage of each split in use, for the checkpoint."""
        return {
            "manifest_hash": {role: dataset.manifest_hash for role, dataset in self._datasets.items()},
            "coverage": {role: self._counts[role] for role in self._datasets},
        }

    def count_batch_clips(self) -> int:
        """Clips of a training batch in each process: ``batch_size``, or fewer where there are fewer videos."""
        world_size = self.trainer.world_size if self.trainer else 1
        num_videos = min(self.batch_size // self.num_repeats, len(self._datasets["train"]) // world_size)
        return num_videos * self.num_repeats

    def train_dataloader(self) -> ResumableLoader:
        self._train_loader = self._create_training_loader(persistent_workers=self.num_workers > 0)
        if self._loader_state is not None:
            self._train_loader.load_state_dict(self._loader_state)
        return self._train_loader

    def create_training_loader(self, *, epoch: int) -> ResumableLoader:
        """Another loader of an epoch's training clips; it moves neither the training's own nor torch's generator."""
        loader = self._create_training_loader(generator=torch.Generator())
        loader.sampler.set_epoch(epoch)
        return loader

    def _describe_draws(self) -> dict[str, Any]:
        """What is drawn from a clip's seed: settings that a resumed epoch must have as it began."""
        settings = {f"augmentation.{name}": value for name, value in asdict(self.augmentation).items()}
        del settings["augmentation.pixels_on_device"]  # which draws the same
        settings |= {"num_repeats": self.num_repeats, "short_videos": self._reading["short_videos"]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}

    def state_dict(self) -> dict[str, Any]:
        """Where the training data are in their epoch, for the checkpoint."""
        return {"train_loader": self._train_loader.state_dict()} if self._train_loader is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning's own way comes too late: the loader is made before its state is restored, as soon as somebody asks
        # for the number of steps (as a schedule does).
        self._loader_state = state_dict.get("train_loader")
        if self._train_loader is not None and self._loader_state is not None:
            self._train_loader.load_state_dict(self._loader_state)

    def val_dataloader(self) -> DataLoader:
        return self._create_loader("val")

    def test_dataloader(self) -> DataLoader:
        # A test video brings all of its views at once; the classifier scores them in pieces of `batch_size`.
        num_clips, num_crops = self.test_views
        # Windows are as many as a video is long: videos of one batch would differ.
        num_videos = 1 if num_clips == "windows" else max(1, self.batch_size // (num_clips * num_crops))
        return self._create_loader("test", batch_size=num_videos)

    def predict_dataloader(self) -> DataLoader:
        return self.test_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        # Only these: Lightning would look for tensors among all that is said of every clip.
        tensors = {name: batch[name] for name in ("video", "label")}
        return {**batch, **super().transfer_batch_to_device(tensors, device, dataloader_idx)}

    def leave_out_of_test(self, statuses: Mapping[str, str]) -> int:
        """Do not evaluate again what an earlier evaluation has; the batches of other videos stay as they are.

        What could not be read then is tried once more, unless the list itself says that it is not there: the disk may
        have been away.

        Args:
            statuses: of the videos that it has, by ``video_id``.

        Returns:
            How many videos are left out.

        Raises:
            InputError: one of them is not listed.
        """
        table = self._datasets["test"].records.table
        listed = {name: table.column(name).to_pylist() for name in ("video_id", "status")}
        if unknown := statuses.keys() - set(listed["video_id"]):
            raise InputError(f"{min(unknown)} was evaluated, but is not in the list of videos")
        self._done = {
            number
            for number, (video_id, status) in enumerate(zip(*listed.values(), strict=True))
            if statuses.get(video_id) in ("ok", "too_short") or (video_id in statuses and status != "ok")
        }
        return len(self._done)

    def is_counted(self, role: Literal["val", "test"], batch_idx: int) -> bool:
        """Whether a batch is this process's own: false for one that only keeps it in step with the other processes."""
        return batch_idx < self._samplers[role].num_counted_batches

    def _create_dataset(self, role: str) -> KineticsDataset:
        num_clips, num_crops = self.test_views if role == "test" else (1, 1)
        split = self.splits[role]
        dataset = KineticsDataset(
            self._location,
            split=split,
            annotations=self._annotations.replace("{split}", split) if self._annotations is not None else None,
            preprocessing=self.preprocessing,
            class_names=self._class_names,
            training=role == "train",
            augmentation=self.augmentation,
            num_repeats=self.num_repeats,
            num_clips=num_clips,
            num_crops=num_crops,
            packed_views=role == "test",
            **self._reading,
        )
        # Once, and not for every checkpoint: on a long list it takes its time.
        coverage = dataset.coverage()
        self._counts[role] = {"num_listed": coverage.num_listed, "num_found": coverage.num_usable}
        rank_zero_info(f"{role}: {describe_coverage(coverage)}, {len(dataset.class_names)} classes")
        for listed, taken in dataset.renamed.items():
            rank_zero_info(f"{role}: class {listed!r} of the list is {taken!r}")
        self._class_names = dataset.class_names
        return dataset

    def _check_splits(self) -> None:
        """Validating on the very videos of the training is an oversight, unless it was said by name."""
        train, val = self._datasets.get("train"), self._datasets.get("val")
        if train is None or val is None or self.splits["train"] == self.splits["val"]:
            return
        if train.records.table.column("path").equals(val.records.table.column("path")):
            raise InputError(
                f"the splits {self.splits['train']} and {self.splits['val']} are the same {len(train)} videos of "
                f"{self._annotations or self.root}: give a list for each, with {{split}} in data.annotations."
            )

    def _find_seed(self) -> int:
        # Lightning hands the seed of seed_everything on to the processes of a distributed run by this variable.
        return self._seed if self._seed is not None else int(os.environ.get("PL_GLOBAL_SEED", 0))

    def _create_training_loader(self, **options: Any) -> ResumableLoader:
        dataset = self._datasets["train"]
        trainer = self.trainer
        sampler = TrainingSampler(
            len(dataset),
            self.batch_size // self.num_repeats,
            seed=self._find_seed(),
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return ResumableLoader(
            dataset,
            sampler,
            data_hash=dataset.manifest_hash,
            draws=self._describe_draws(),
            num_workers=self.num_workers,
            collate_fn=collate_clips,
            worker_init_fn=leave_signals_to_the_trainer,
            **options,
        )

    def _create_loader(self, role: str, *, batch_size: int | None = None) -> DataLoader:
        dataset = self._datasets[role]
        trainer = self.trainer
        sampler = EvaluationSampler(
            len(dataset),
            self.batch_size if batch_size is None else batch_size,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            done=self._done if role == "test" else (),
        )
        self._samplers[role] = sampler
        return DataLoader(
            dataset,
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate_clips,
            worker_init_fn=leave_signals_to_the_trainer,
            persistent_workers=self.num_workers > 0 and role != "test",
            pin_memory=False,
        )
