"""`lightning fit|validate|test|predict`: LightningCLI over VideoClassifier and KineticsDataModule."""

import argparse
import json
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from videosoft.atomic_files import check_output_folder
from videosoft.data import Preprocessing
from videosoft.errors import InputError
from videosoft.models import LoadedModel, load_checkpoint
from videosoft.training.callbacks import (
    ClipRate,
    ConfusionLog,
    FailureLog,
    GpuMemory,
    GradientNorm,
    HardClips,
    NetworkSummary,
    NonFiniteGuard,
    NonFinitePolicy,
    PredictionWriter,
    RecipeCardWriter,
    StepSeed,
    TrainingProgressBar,
)
from videosoft.training.checkpoints import (
    CHECKPOINTS_FOLDER,
    AtomicCheckpointIO,
    BestCheckpoint,
    LastCheckpoint,
    SaveOnSignal,
    resolve_checkpoint,
)
from videosoft.training.classifier import VideoClassifier
from videosoft.training.configuration import configuration_errors_as_input_errors
from videosoft.training.console import end_by_signal_numbers, silence_advertisements
from videosoft.training.datamodule import KineticsDataModule
from videosoft.training.fully_sharded import check_sharding
from videosoft.training.loggers import MetricsCsvLogger, WandbChoice, create_csv_logger, create_loggers
from videosoft.training.precision import use_float16_on_cpu
from videosoft.training.run_checks import check_limits, check_precision, check_same_recipe, check_training
from videosoft.training.run_failures import failures_as_input_errors
from videosoft.training.trainer import Trainer
from videosoft.training.unknown_keys import NearestKeysParser

# Keys that LightningCLI brings along and that would go past the recipe -> the keys that do the same here.
_LIGHTNINGS_OWN = {"optimizer": "model.optimizer", "lr_scheduler": "model.schedule"}
# Lightning's own words say what its Trainer would do, not what the verbs here do. Keys without help are not saved.
_HELP = {
    "ckpt_path": "a checkpoint, the folder of a run, or last: the newest run of this name (docs/robust_runs.md)",
    "run.extends": argparse.SUPPRESS,
    **{name: argparse.SUPPRESS for key in _LIGHTNINGS_OWN for name in (key, f"{key}.help")},
}


class _OverwritingSaveConfig(SaveConfigCallback):
    """Keep the resolved config beside the run, whose folder is always a new one, and in what loggers know of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "overwrite": True})

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, VideoClassifier)
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams(pl_module.recipe)


class VideosoftCLI(LightningCLI):
    """LightningCLI that knows where runs lie, which loggers they have, and whose class names count."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run.output", type=str, default="runs", help="folder of all runs; each goes to OUTPUT/NAME/version_N"
        )
        parser.add_argument(
            "--run.extends",
            type=_forget_bases,
            default=None,
        )
        parser.add_argument("--run.name", type=str | None, default=None, help="default: the config file's name")
        parser.add_argument(
            "--run.version", type=str | None, default=None, help="a name instead of the next free version_N"
        )
        parser.add_argument(
            "--run.checkpoint_every",
            type=PositiveInt | None,
            default=None,
            help="steps from one last.ckpt to the next, besides that of every epoch's end",
        )
        parser.add_argument(
            "--run.wandb",
            type=WandbChoice,
            default="auto",
            help="auto logs online when a key is configured, else offline; a CSV is always written",
        )
        parser.add_argument(
            "--run.hard_clips",
            type=NonNegativeInt,
            default=12,
            help="clips of the largest loss to keep of each validation, with stills; 0: none",
        )
        parser.add_argument(
            "--run.nonfinite",
            type=NonFinitePolicy,
            default="stop",
            help="a loss that is NaN or infinite stops the training, with a dump, or has its step left out",
        )
        parser.add_argument(
            "--run.max_skips", type=PositiveInt, default=10, help="steps in a row that --run.nonfinite skip leaves out"
        )
        parser.add_argument("--run.tensorboard", type=bool, default=False, help="log for TensorBoard, too")

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        super().setup_parser(*args, **kwargs)

        def list_keys() -> list[str]:
            return list(self._parser("fit").get_defaults().keys())

        for parser in (self.parser, *self._subcommand_parsers.values()):
            if isinstance(parser, NearestKeysParser):
                parser.list_known_keys = list_keys
            for action in parser._actions:
                action.help = _HELP.get(action.dest, action.help)

    def _parse_ckpt_path(self) -> None:
        """Not Lightning's way: it reads the file before we can say what is wrong with it, and settings out of it."""

    def before_instantiate_classes(self) -> None:
        for key, ours in _LIGHTNINGS_OWN.items():
            if self._subconfig.get(key) is not None:
                raise InputError(f"{key}: a recipe says this by {ours} (docs/training.md).")
        run = self._subconfig["run"]
        run["name"] = run["name"] or _name_of_config(sys.argv)
        for key in ("name", "version"):
            if run[key] is not None and not _stays_inside(run[key]):
                raise InputError(
                    f"run.{key}={run[key]!r}: must be the name of a folder inside run.output, in printable characters."
                )

    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        self.model.recipe = self._dump_recipe()

    def _dump_recipe(self) -> dict[str, Any]:
        """The resolved config as plain types."""
        dumped = self.parser.dump(self.config, format="json", skip_none=False)
        return json.loads(dumped).get(self.subcommand, {})

    def _find_checkpoint(self) -> Path | None:
        """The file that ``--ckpt_path`` means, which takes its place in the config."""
        named = self._subconfig.get("ckpt_path")
        if not named:
            if self.subcommand != "fit":
                raise InputError(f"`lightning {self.subcommand}` needs a trained network: pass --ckpt_path.")
            return None
        path = resolve_checkpoint(named, runs_dir=self._runs_dir, to_go_on=self.subcommand == "fit")
        for config in (self.config, self.config_init):
            config[self.subcommand]["ckpt_path"] = str(path) if path is not None else None
        return path

    def _load_checkpoint(self) -> LoadedModel | None:
        """The checkpoint to resume or to evaluate, which must hold the network and the clips that the config names."""
        ckpt_path = self._ckpt_path = self._find_checkpoint()
        if ckpt_path is None:
            return None
        loaded = load_checkpoint(ckpt_path)
        if self.subcommand == "fit" and not loaded.metadata["is_resumable"]:
            raise InputError(f"{ckpt_path} holds weights only, no state of a training: it cannot be resumed.")
        if self.subcommand == "fit":
            check_same_recipe(loaded.metadata["recipe"], self._dump_recipe(), source=ckpt_path)
        card, config = loaded.metadata["model"], self.model.network_config
        if (card["name"], card["kwargs"]) != (config.name, config.to_model_kwargs()):
            raise InputError(
                f"{ckpt_path} holds {card['name']} with {card['kwargs']}, the config asks for "
                f"{config.name} with {config.to_model_kwargs()}: use the config that it was trained with "
                "(config.yaml in its run's folder)."
            )
        trained = Preprocessing.from_dict(loaded.preprocessing).to_dict()
        configured = self.datamodule.preprocessing.to_dict()
        if differing := [name for name in trained if trained[name] != configured[name]]:
            raise InputError(
                f"{ckpt_path} was trained with other clips than the config makes: "
                + ", ".join(f"data.{name} {trained[name]}, not {configured[name]}" for name in differing)
            )
        return loaded

    def _prepare_data_and_network(self) -> None:
        """Fail on data or a network that cannot work before a folder or a log of the run exists."""
        self._loaded = self._load_checkpoint()
        if self._loaded is not None:
            self.datamodule.use_class_names(self._loaded.class_names)
            self.model.is_resumed = True
        self.datamodule.setup(self.subcommand)
        if self._loaded is None or self.subcommand == "fit":
            self.model.check_network(self.datamodule)
        else:
            self.model.use_loaded(self._loaded)
            # The network has its weights: Lightning need not read the file again, which it takes for one of its own.
            self.config_init[self.subcommand]["ckpt_path"] = None

    def _create_csv_logger(self) -> MetricsCsvLogger:
        """The logger that knows the run's folder, which is free and can be written to, and is not made yet."""
        run = self._subconfig["run"]
        logger = create_csv_logger(run["output"], run["name"], run["version"])
        run_dir = Path(logger.log_dir)
        # Only the first process of a run writes; it may have done so before the others look.
        if getattr(rank_zero_only, "rank", 0) == 0 and run_dir.exists() and any(run_dir.iterdir()):
            raise InputError(
                f"{run_dir} exists and is not empty: choose another --run.version, or leave it out for a new one."
            )
        check_output_folder(run_dir)
        return logger

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        self._prepare_data_and_network()
        run = self._subconfig["run"]
        csv_logger = self._create_csv_logger()
        run_dir = self._run_dir = Path(csv_logger.log_dir)
        # Only a fit is worth more than the CSV; the other verbs write their results as files.
        is_fit = self.subcommand == "fit"
        loggers = create_loggers(
            csv_logger, wandb=run["wandb"] if is_fit else "off", tensorboard=is_fit and run["tensorboard"]
        )
        configured = self._subconfig["trainer"]
        clip_rate = ClipRate()
        callbacks: list[L.Callback] = [
            *self._create_checkpointers(run_dir),
            StepSeed(),
            clip_rate,
            FailureLog(),
        ]
        if self.subcommand in ("test", "predict"):
            assert self._loaded is not None
            checkpoint_hash = self._loaded.metadata["checkpoint_hash"]
            command = shlex.join(["lightning", *sys.argv[1:]])
            callbacks.append(PredictionWriter(None, checkpoint_hash=checkpoint_hash, command=command))
        if self.subcommand in ("fit", "validate"):
            callbacks.append(ConfusionLog())
        if run["hard_clips"]:
            callbacks.append(HardClips(run["hard_clips"]))
        if is_fit:
            callbacks.append(NonFiniteGuard(run["nonfinite"], max_skips=run["max_skips"]))
            callbacks += [
                RecipeCardWriter(),
                NetworkSummary(),
                LearningRateMonitor("step"),
                GradientNorm(),
                GpuMemory(),
            ]
        if configured.get("enable_progress_bar") is not False:
            callbacks.append(TrainingProgressBar(clip_rate))
        if configured.get("enable_model_summary") is None:
            kwargs["enable_model_summary"] = False
        with configuration_errors_as_input_errors():
            trainer = super().instantiate_trainer(
                logger=[*loggers, *self._find_configured_loggers()],
                callbacks=[*callbacks, *self._find_configured("callbacks")],
                plugins=self._find_plugins(),
                **kwargs,
            )
        use_float16_on_cpu(trainer, configured.get("precision"))
        assert self.subcommand is not None
        check_precision(trainer)
        check_limits(trainer, self.datamodule, self.subcommand)
        if is_fit:
            check_sharding(trainer, compile_mode=self.model.compile_mode)
            check_training(trainer, self.model, self.datamodule)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        run_dir = self._run_dir if subcommand == "fit" else None
        with failures_as_input_errors(self.trainer, self.datamodule, run_dir=run_dir), end_by_signal_numbers():
            super()._run_subcommand(subcommand)

    def _create_checkpointers(self, run_dir: Path) -> list[L.Callback]:
        configured = self._subconfig["trainer"]
        if configured.get("enable_checkpointing") is False or configured.get("fast_dev_run"):
            return []
        folder = run_dir / CHECKPOINTS_FOLDER
        every_n_steps = self._subconfig["run"]["checkpoint_every"]
        last = LastCheckpoint(folder, every_n_steps=every_n_steps)
        return [BestCheckpoint(folder, resumed=self._ckpt_path), last, SaveOnSignal(last)]

    def _find_plugins(self) -> list[Any]:
        plugins = self._find_configured("plugins")
        has_own = any(isinstance(plugin, CheckpointIO) for plugin in plugins)
        return plugins if has_own else [*plugins, AtomicCheckpointIO()]

    def _find_configured(self, key: str) -> list[Any]:
        """What the config's trainer has for a key that takes one thing or a list."""
        value = self.config_init[self.subcommand]["trainer"][key] or []
        return value if isinstance(value, list) else [value]

    @property
    def _runs_dir(self) -> Path:
        run = self._subconfig["run"]
        return Path(run["output"]) / run["name"]

    def _find_configured_loggers(self) -> list[Logger]:
        logger = self.config_init[self.subcommand]["trainer"]["logger"]
        if logger is False:
            raise InputError(
                "trainer.logger=false: a run always writes its metrics.csv; --run.wandb off leaves it at that."
            )
        return [] if logger in (None, True) else logger if isinstance(logger, list) else [logger]

    @property
    def _subconfig(self) -> Any:
        return self.config[self.subcommand] if self.subcommand else self.config


def run_lightning_cli(cli: type[VideosoftCLI] = VideosoftCLI) -> None:
    """Parse ``sys.argv`` and run the verb.

    ``sys.argv`` is read, rather than a list passed on, because a distributed run starts its other processes from it.

    Raises:
        InputError: on wrong input, and where Lightning calls the configuration impossible.
    """
    silence_advertisements()
    try:
        cli(
            VideoClassifier,
            KineticsDataModule,
            trainer_class=Trainer,
            save_config_callback=_OverwritingSaveConfig,
            parser_class=NearestKeysParser,
            trainer_defaults={"accelerator": "auto", "devices": "auto"},
        )
    except InputError:
        raise
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    except RuntimeError as error:
        if not str(error).startswith("Early stopping conditioned on metric"):
            raise
        raise InputError(str(error)) from error
    except ValueError as error:
        # Lightning says by a plain ValueError, too, which option it does not like.
        if "/lightning/" not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).as_posix():
            raise
        raise InputError(str(error)) from error


def _forget_bases(extends: object) -> None:
    """``run.extends`` as the resolved config has it: the command line put the bases before it, and it stands alone."""


def _stays_inside(name: str) -> bool:
    path = Path(name)
    return name.isprintable() and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _name_of_config(argv: list[str]) -> str:
    for flag, value in zip(argv, [*argv[1:], ""], strict=False):
        if flag in ("--config", "-c") and value:
            return Path(value).stem
        if flag.startswith("--config="):
            return Path(flag.partition("=")[2]).stem
    return "run"
