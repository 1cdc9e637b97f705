"""How fast the network takes clips, and whether the workers can feed it."""

import math
import time

import lightning as L
import torch
from torch.nn import functional as F
from torch.optim import Optimizer

from videosoft.cores import count_cores
from videosoft.data import Preprocessing, normalize_clip
from videosoft.models import create_model
from videosoft.training.classifier import VideoClassifier
from videosoft.training.doctor.data import DecodeRate
from videosoft.training.doctor.findings import Finding

# Workers beside the training on the same cores: below this share of its rate the network waits.
_STARVING = 0.95


class TrainingProbe:
    """Training steps on made-up clips, on the device and with the precision of the run."""

    def __init__(self, classifier: VideoClassifier, trainer: L.Trainer, preprocessing: Preprocessing, num_classes: int):
        config = classifier.network_config
        self.device = trainer.strategy.root_device
        self._precision = trainer.precision_plugin
        self._preprocessing = preprocessing
        self._num_classes = num_classes
        network = create_model(config.name, num_classes=num_classes, **config.to_model_kwargs())
        self._network = self._precision.convert_module(network).to(self.device).train()
        self._optimizer: Optimizer = classifier.optimizer(self._network.parameters())

    def step(self, num_clips: int) -> None:
        """Forward, backward and update with ``num_clips`` clips."""
        size = self._preprocessing
        clips = torch.randint(
            256, (num_clips, 3, size.num_frames, size.crop, size.crop), dtype=torch.uint8, device=self.device
        )
        labels = torch.arange(num_clips, device=self.device) % self._num_classes
        with self._precision.forward_context():
            loss = F.cross_entropy(self._network(normalize_clip(clips, size.mean, size.std)), labels)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

    def measure_rate(self, num_clips: int, seconds: float) -> float:
        """Clips a second, over as many steps as fit into about ``seconds``; the first step is not counted."""
        self.step(num_clips)
        self._synchronize()
        started = time.perf_counter()
        num_steps = 0
        while num_steps == 0 or time.perf_counter() - started < seconds:
            self.step(num_clips)
            self._synchronize()
            num_steps += 1
        return num_steps * num_clips / (time.perf_counter() - started)

    def find_largest_batch(self, limit: int) -> int:
        """The largest power of two of clips whose step fits into the GPU's memory, up to ``limit``; 0: not even one."""
        largest = 0
        num_clips = 1
        while num_clips <= limit:
            try:
                self.step(num_clips)
            except torch.cuda.OutOfMemoryError:
                self._optimizer.zero_grad()
                torch.cuda.empty_cache()
                break
            largest, num_clips = num_clips, 2 * num_clips
        return largest

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def judge_feeding(
    decode_rate: DecodeRate,
    training_rate: float,
    *,
    num_workers: int,
    num_videos: int,
    num_devices: int,
    shares_cores: bool,
) -> list[Finding]:
    """Whether the workers decode as fast as the network trains, and how long an epoch takes.

    ``training_rate`` is that of one device, which has ``num_workers`` workers of its own.  ``shares_cores`` says that
    the training runs on the cores that the workers decode on.
    """
    num_cores = count_cores()
    per_worker = decode_rate.clips_per_second
    num_working = max(1, min(num_workers, num_cores // num_devices))
    fed = num_working * per_worker
    if num_workers == 0:  # they take turns
        rate = 1 / (1 / per_worker + 1 / training_rate)
    elif shares_cores:
        rate = min(fed, 1 / (1 / (num_cores * per_worker) + 1 / training_rate))
    else:
        rate = min(fed, training_rate)
    # Where both share the cores, decoding slows the training down, but more workers would not help.
    starves = (rate if num_workers == 0 else fed) < _STARVING * training_rate
    text = f"decoding {fed:.1f} clips/s with {num_workers} workers, training {training_rate:.1f} clips/s a device"
    if starves:
        needed = math.ceil(training_rate / per_worker)
        advice = (
            f"{needed} workers would feed it"
            if needed * num_devices <= num_cores
            else f"it would take {needed} cores a device ({num_cores} are here); videos re-encoded to a short side of "
            "256 with a dense GOP (datasets/kinetics700/prepare.py encode) decode faster"
        )
        text += f": the network waits {1 - rate / training_rate:.0%} of the time; {advice}"
    num_usable = num_videos * decode_rate.num_usable / decode_rate.num_tried
    total = rate * num_devices
    crowded = num_workers > num_cores // num_devices
    if crowded and not starves:
        text += f"; more than {num_cores // num_devices} workers a device only take memory: {num_cores} cores are here"
    return [
        Finding("warn" if starves or crowded else "ok", "feeding", text),
        Finding("ok", "epoch", f"about {_format_duration(num_usable / total)}, at {total:.1f} clips/s"),
    ]


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
