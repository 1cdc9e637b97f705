"""Times the training loop of `lightning fit` beside a bare PyTorch loop, and the way to the first step.

Loop: the same network, optimiser, schedule and clips in both, in turns in one process: while Lightning asks for its
next batch, the bare loop does as many steps. In "memory" the clips are ready, and a turn is one step (on a GPU 20); in
"loader" a turn is 40 steps of the real data, workers from a standing start.
Start: seconds from the command to the end of the first step, each in a process of its own. Writes a JSON file.

On a GPU, --variants also times channels_last_3d, bf16 and torch.compile, in clips per second and % of the bf16 peak.
"""

import argparse
import datetime
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from bench_softpool import ROOT, describe_device, find_versions
from lightning.fabric.utilities.throughput import get_available_flops
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from videosoft.atomic_files import check_output_folder, write_json
from videosoft.data import ResumableLoader, normalize_clip
from videosoft.errors import InputError, run_command
from videosoft.models import create_model
from videosoft.recipes import resolve_configs
from videosoft.training import KineticsDataModule, VideoClassifier
from videosoft.training.command import VideosoftCLI
from videosoft.training.schedules import create_schedule

FORMAT_VERSION = 1
MOST_LOOP_OVER_BARE, MOST_SECONDS_TO_FIRST_STEP = 1.02, 15.0
WARMUP_TURNS = 3
VARIANTS: dict[str, list[str]] = {
    "float32": [],
    "channels_last_3d": ["--model.memory_format", "channels_last_3d"],
    "bf16": ["--trainer.precision", "bf16-mixed"],
    "channels_last_3d + bf16": ["--model.memory_format", "channels_last_3d", "--trainer.precision", "bf16-mixed"],
    "channels_last_3d + bf16 + compile": [
        *("--model.memory_format", "channels_last_3d", "--trainer.precision", "bf16-mixed"),
        *("--model.compile_mode", "default"),
    ],
}


def main() -> None:
    args = parse_arguments()
    if args.output.exists() and not args.force:
        raise InputError(f"{args.output} exists already; name another --output or overwrite it with --force")
    if not (args.root / "train").is_dir():
        raise InputError(f"{args.root} holds no data: python datasets/demo/prepare.py --output {args.root}")
    check_output_folder(args.output.parent)
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "config": args.config,
        "quick": args.quick,
        "load_average": round(os.getloadavg()[0], 2),
        "device": describe_device(torch.device(args.device)),
        "versions": find_versions(),
    }
    record["start"] = measure_start(args)
    record["loops"] = [measure_loop(args, name, []) for name in ("memory", "loader")]
    if args.variants:
        record["variants"] = [measure_loop(args, name, more, is_variant=True) for name, more in VARIANTS.items()]
    write_json(args.output, record)
    print(f"first step after {record['start']['median_seconds']:.1f} s (at most {MOST_SECONDS_TO_FIRST_STEP:.0f})")
    for row in [*record["loops"], *record.get("variants", [])]:
        peak = "" if row["percent_of_bf16_peak"] is None else f", {row['percent_of_bf16_peak']:.1f} % of the bf16 peak"
        print(
            f"{row['name']}: Lightning / bare {row['lightning_over_bare']:.4f} (at most {MOST_LOOP_OVER_BARE}), "
            f"{row['clips_per_second']['lightning']:.1f} clips/s{peak}"
        )
    print(args.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT / "data" / "demo", help="the demo data (default: data/demo)")
    parser.add_argument("--config", default="r3d50_softpool_demo.yaml", help="recipe (default: that of the demo)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/train_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--variants", action="store_true", help="memory format, bf16 and compile, too")
    parser.add_argument("--quick", action="store_true", help="few turns: to see that it runs")
    parser.add_argument("more", nargs="*", help="further arguments of lightning fit, after --")
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks" / "results" / f"train_{args.device}.json"
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device here; --device cpu is the other choice")
    return args


def create_arguments(args: argparse.Namespace, folder: str) -> list[str]:
    """Of `lightning fit`, as a user would type them; nothing is validated, and no process outside is asked."""
    return resolve_configs(
        [
            *("fit", "--config", args.config, "--data.root", str(args.root), "--run.output", folder),
            *("--trainer.accelerator", args.device, "--trainer.devices", "1", "--trainer.limit_val_batches", "0"),
            *args.more,
        ]
    )


def measure_start(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds to the end of the first step, wandb (offline) included, as a new user has it."""
    seconds = []
    for _ in range(1 if args.quick else 5):
        with tempfile.TemporaryDirectory() as folder:
            stamp = Path(folder, "first_step")
            arguments = [*create_arguments(args, folder), "--run.wandb", "offline", "--trainer.max_steps", "1"]
            arguments.append("--trainer.callbacks+=first_step.FirstStepStamp")
            arguments += ["--trainer.callbacks.path", str(stamp)]
            started = time.time()
            run = subprocess.run(
                [sys.executable, "-m", "videosoft", *arguments],
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(ROOT)])},
                capture_output=True,
                text=True,
            )
            if run.returncode:
                raise InputError(f"lightning fit failed:\n{run.stderr[-2000:]}")
            seconds.append(round(float(stamp.read_text()) - started, 2))
    return {"median_seconds": statistics.median(seconds), "seconds": seconds}


class BareLoop:
    """What one would write without a framework, on the same clips."""

    def __init__(self, classifier: VideoClassifier, data: KineticsDataModule, trainer: L.Trainer) -> None:
        config = classifier.network_config
        self.device = trainer.strategy.root_device
        self._memory_format = classifier.memory_format
        self._preprocessing, self._label_smoothing = data.preprocessing, classifier.label_smoothing
        network = create_model(config.name, num_classes=len(data.class_names), **config.to_model_kwargs())
        self._network: nn.Module = network.to(self.device, memory_format=self._memory_format).train()
        if classifier.compile_mode is not None:
            self._network.compile(mode=classifier.compile_mode)
        self._optimizer = classifier.optimizer(self._network.parameters())
        self._schedule = create_schedule(self._optimizer, classifier.schedule, num_steps=10**6, num_epochs=100)
        self._is_half = str(trainer.precision) == "bf16-mixed"

    def step(self, batch: Any) -> None:
        size = self._preprocessing
        clips = normalize_clip(batch["video"].to(self.device), size.mean, size.std, memory_format=self._memory_format)
        with self._autocast():
            logits = self._network(clips)
            loss = F.cross_entropy(logits, batch["label"].to(self.device), label_smoothing=self._label_smoothing)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self._is_half else nullcontext()


class TurnsLoader(ResumableLoader):
    """Between Lightning's turns the bare loop has its own; whoever waits for the device pays for it."""

    def prepare(self, *, bare_step: Callable[[Any], None], turn: int, num_turns: int, batches: list[Any]) -> None:
        """``batches`` are gone round and round; without any, a turn begins the real loader's epoch anew."""
        self._bare_step, self._turn, self._num_turns, self._batches = bare_step, turn, num_turns, batches
        self.seconds: dict[str, list[float]] = {"bare": [], "lightning": []}

    def __len__(self) -> int:
        return self._turn * self._num_turns

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self._num_turns):
            # The one loader serves both: its workers have nothing prepared when a turn begins.
            started = self._read_clock()
            for batch in self._iterate_turn():
                self._bare_step(batch)
            between = self._read_clock()
            yield from self._iterate_turn()
            self.seconds["bare"].append(between - started)
            self.seconds["lightning"].append(self._read_clock() - between)

    def _iterate_turn(self) -> Iterator[Any]:
        if not self._batches:
            yield from itertools.islice(super().__iter__(), self._turn)
        for index in range(self._turn if self._batches else 0):
            yield self._batches[index % len(self._batches)]

    @staticmethod
    def _read_clock() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


class TurnsDataModule(KineticsDataModule):
    """The data of the run, dealt out in turns."""

    is_real, num_turns, turn = False, 1, 1
    loader: TurnsLoader | None = None

    def train_dataloader(self) -> ResumableLoader:
        real = super().train_dataloader()
        assert self.trainer is not None
        bare = BareLoop(self.trainer.lightning_module, self, self.trainer)  # type: ignore[arg-type]
        batches = [] if self.is_real else [batch for batch, _ in zip(self.create_training_loader(epoch=0), range(8))]  # noqa: B905
        turn = min(len(real), self.turn)
        real.__class__ = TurnsLoader
        assert isinstance(real, TurnsLoader)
        real.prepare(bare_step=bare.step, turn=turn, num_turns=self.num_turns, batches=batches)
        TurnsDataModule.loader = real
        return real


def measure_loop(args: argparse.Namespace, name: str, more: list[str], *, is_variant: bool = False) -> dict[str, Any]:
    """Medians of both loops' turns; the ratio is the median of the ratios of neighbouring turns."""
    is_real = name == "loader"
    TurnsDataModule.is_real = is_real
    TurnsDataModule.turn = (4 if args.quick else 40) if is_real else 20 if args.device == "cuda" else 1
    TurnsDataModule.num_turns = WARMUP_TURNS + ((1 if args.quick else 10) if is_real else (5 if args.quick else 300))
    if is_variant and args.device == "cuda":
        TurnsDataModule.num_turns = WARMUP_TURNS + 10
    TurnsDataModule.num_turns += 1  # Lightning does not ask on after the last one, so that nobody sees its end
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [
            "lightning",
            *create_arguments(args, folder),
            "--run.wandb",
            "off",
            "--trainer.max_epochs",
            "1",
            *more,
        ]
        cli = VideosoftCLI(VideoClassifier, TurnsDataModule, save_config_callback=None)
    loader = TurnsDataModule.loader
    assert loader is not None
    seconds = {loop: values[WARMUP_TURNS:] for loop, values in loader.seconds.items()}
    num_clips = len(loader) // loader._num_turns * cli.datamodule.batch_size
    rates = {loop: num_clips / statistics.median(values) for loop, values in seconds.items()}
    ratios = [ours / bare for ours, bare in zip(seconds["lightning"], seconds["bare"], strict=True)]
    return {
        "name": name,
        "turns": len(ratios),
        "clips_a_turn": num_clips,
        "lightning_over_bare": round(statistics.median(ratios), 4),
        "clips_per_second": {loop: round(rate, 2) for loop, rate in rates.items()},
        "percent_of_bf16_peak": find_percent_of_peak(cli.model, cli.datamodule, rates["lightning"], args.device),
        "seconds": {loop: [round(value, 5) for value in values] for loop, values in seconds.items()},
    }


def find_percent_of_peak(
    classifier: VideoClassifier, data: KineticsDataModule, clips_per_second: float, device: str
) -> float | None:
    """Floating-point operations of forward and backward pass, as a share of what the GPU is sold with."""
    peak = get_available_flops(torch.device(device, 0), torch.bfloat16) if device == "cuda" else None
    if peak is None:
        return None
    config, size = classifier.network_config, data.preprocessing
    with torch.device("meta"):
        network = create_model(config.name, num_classes=len(data.class_names), **config.to_model_kwargs())
        clip = torch.empty(1, 3, size.num_frames, size.crop, size.crop)
    with FlopCounterMode(display=False) as counter:
        network.eval()(clip)
    return round(100 * 3 * counter.get_total_flops() * clips_per_second / peak, 2)


if __name__ == "__main__":
    sys.exit(run_command(main))
