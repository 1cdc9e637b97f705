"""The command `lightning doctor --config X`: the same keys as `lightning fit`, and no run."""

import sys
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning.pytorch.cli import LightningArgumentParser

from videosoft.errors import InputError
from videosoft.models import create_model
from videosoft.training.command import VideosoftCLI, run_lightning_cli
from videosoft.training.configuration import configuration_errors_as_input_errors
from videosoft.training.doctor.data import check_coverage, judge_decoding, measure_decode_rate
from videosoft.training.doctor.environment import check_environment
from videosoft.training.doctor.findings import Finding, summarize_findings
from videosoft.training.doctor.memory import estimate_largest_batch, find_available_bytes
from videosoft.training.doctor.speed import TrainingProbe, judge_feeding
from videosoft.training.fully_sharded import check_sharding
from videosoft.training.precision import use_float16_on_cpu
from videosoft.training.run_checks import check_limits, check_precision, check_training

# What says how long the run lasts, of Lightning's trainer.
_LENGTHS = (
    *("max_epochs", "max_steps", "overfit_batches", "accumulate_grad_batches"),
    *("limit_train_batches", "limit_val_batches", "val_check_interval", "check_val_every_n_epoch"),
)


class DoctorCLI(VideosoftCLI):
    """Parses what `fit` parses, looks at it and reports, instead of training."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument("--doctor.num_videos", type=PositiveInt, default=24, help="training videos to decode")
        parser.add_argument(
            "--doctor.seconds", type=PositiveFloat, default=5.0, help="about how long to train for the rate"
        )

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        super().setup_parser(*args, **kwargs)
        for parser in self._subcommand_parsers.values():
            parser.prog, parser.description = "lightning doctor", "What would go wrong with a fit; nothing is written."

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        configured = dict(self._subconfig["trainer"])
        with configuration_errors_as_input_errors():
            trainer = L.Trainer(
                accelerator=configured["accelerator"],
                devices=configured["devices"],
                num_nodes=configured["num_nodes"],
                precision=configured["precision"],
                strategy=configured["strategy"],
                callbacks=self._find_configured("callbacks"),
                **{name: configured[name] for name in _LENGTHS},
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
        use_float16_on_cpu(trainer, configured["precision"])
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        findings = []
        for finding in self._examine():
            print(finding, flush=True)
            findings.append(finding)
        print(summarize_findings(findings))
        if any(finding.severity == "FAIL" for finding in findings):
            raise SystemExit(1)

    def _examine(self) -> Iterator[Finding]:
        yield from check_environment(self.trainer.strategy.root_device.type)
        for topic, prepare in (
            ("precision", lambda: check_precision(self.trainer)),
            ("data and network", self._prepare_data_and_network),
        ):
            try:
                prepare()
            except InputError as error:  # without it there is nothing to try out
                yield Finding("FAIL", topic, str(error))
                return
        if self._loaded is not None:
            yield Finding("ok", "checkpoint", f"{len(self._loaded.class_names)} classes, those of the data, by name")
        data = self.datamodule
        for topic, check in (("run's folder", self._create_csv_logger), ("training", self._check_training)):
            try:
                check()
            except InputError as error:
                yield Finding("FAIL", topic, str(error))
        for role in ("train", "val"):
            yield from check_coverage(role, data.get_dataset(role))
        options = self._subconfig["doctor"]
        decode_rate = measure_decode_rate(data.get_dataset("train"), options["num_videos"])
        yield judge_decoding(decode_rate)
        if not decode_rate.num_usable:
            return
        probe = TrainingProbe(self.model, self.trainer, data.preprocessing, len(data.class_names))
        yield self._judge_batch(probe)
        # On a CPU the rate hardly depends on the batch, but the time that a step takes does.
        num_clips = data.batch_size if probe.device.type == "cuda" else min(2, data.batch_size)
        try:
            training_rate = probe.measure_rate(num_clips, options["seconds"])
        except torch.cuda.OutOfMemoryError:
            return  # said above
        yield from judge_feeding(
            decode_rate,
            training_rate,
            num_workers=data.num_workers,
            num_videos=len(data.get_dataset("train")),
            num_devices=self.trainer.num_devices,
            shares_cores=probe.device.type == "cpu",
        )

    def _check_training(self) -> None:
        check_limits(self.trainer, self.datamodule, "fit")
        check_sharding(self.trainer, compile_mode=self.model.compile_mode)
        check_training(self.trainer, self.model, self.datamodule)

    def _judge_batch(self, probe: TrainingProbe) -> Finding:
        data, config = self.datamodule, self.model.network_config
        size = data.preprocessing
        if probe.device.type == "cuda":
            largest = probe.find_largest_batch(limit=8 * data.batch_size)
            how = "tried"
        else:
            with torch.device("meta"):
                network = create_model(config.name, num_classes=len(data.class_names), **config.to_model_kwargs())
            clip_shape = (3, size.num_frames, size.crop, size.crop)
            largest = estimate_largest_batch(network, clip_shape, find_available_bytes())
            how = "estimated from what the backward keeps"
        fits = largest >= data.batch_size
        return Finding(
            "ok" if fits else "FAIL",
            "batch size",
            f"{data.batch_size} clips a device; up to {largest} fit ({how})"
            + ("" if fits else "; lower --data.batch_size, or accumulate: --trainer.accumulate_grad_batches"),
        )


def run_doctor() -> None:
    """Examine ``sys.argv``; without any config only what is installed.

    Raises:
        InputError: on arguments that cannot be parsed.
        SystemExit: with 1 where the run would fail.
    """
    if len(sys.argv) == 2:
        findings = list(check_environment("cuda" if torch.cuda.is_available() else "cpu"))
        print("\n".join(map(str, findings)))
        print("pass --config to have data, network and speed looked at as well")
        if any(finding.severity == "FAIL" for finding in findings):
            raise SystemExit(1)
        return
    # The parser knows the verb as `fit`, whose keys these are.
    sys.argv[1] = "fit"
    run_lightning_cli(DoctorCLI)
