"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with this package's defaults, folders and manners.

Every run reads ``configs/base.yaml`` first, then each ``--config`` in order (after the file that its key ``base``
names, such as ``gridworld.yaml``), then the other options. One parser is built for the one command at hand, and a
resumed run takes its settings from the command line, not the checkpoint.
"""

import argparse
import contextlib
import os
import traceback
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader, set_parsing_settings
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from omegaconf.errors import OmegaConfBaseException

from iqlightning.algorithms.learner import Learner
from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.callbacks.stop_on_signal import StopOnSignal, short_path
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.checkpoint_io import VerifiedCheckpointIO
from iqlightning.cli.config_files import base_config, find_configs, run_name
from iqlightning.cli.disk_trouble import disk_trouble, heard_once
from iqlightning.cli.home import expand_homes
from iqlightning.cli.linked_settings import join_log_intervals, link_settings, refuse_following
from iqlightning.cli.main import TRUST_HELP
from iqlightning.cli.mistakes import (
    explain,
    explain_interpolation,
    first_sentence,
    missing_monitor,
    missing_package,
    user_error_behind,
)
from iqlightning.cli.plain_console import PlainConsole
from iqlightning.cli.predictions import write_predictions
from iqlightning.cli.resuming import refuse_other_settings
from iqlightning.cli.run_folder import drop_unused, find_checkpoint, folder_variable_kept, run_loggers, take_run_folder
from iqlightning.cli.run_record import RunRecord
from iqlightning.cli.signatures import refuse_null_values
from iqlightning.cli.trust import import_families, limit_what_configurations_may_name, take_trusted
from iqlightning.documents import require_small_yaml
from iqlightning.errors import UserError
from iqlightning.evaluation.tables import logged_table
from iqlightning.files import check_output, mark_of
from iqlightning.types import EnvConfig

__all__ = ["TrainingCLI", "run"]

_MODE = "omegaconf+"

#: NumPy's, which Lightning seeds as well.
_LARGEST_SEED = (1 << 32) - 1


def run(arguments: Sequence[str], command: str) -> None:
    """Parses, builds and runs one of the four commands.

    Raises:
        UserError: for anything that a user can mend.
    """
    rest, trusted = take_trusted(arguments)
    limit_what_configurations_may_name(trusted)
    import_families(trusted)
    configs, rest = find_configs(rest)
    refuse_following(rest, configs)
    with folder_variable_kept():
        TrainingCLI(command, rest, configs).execute()


_MOST_THREADS = 64


class TrainingCLI(LightningCLI):
    """One command of the four: the parser, the run's folder and what every run has."""

    def __init__(self, command: str, arguments: Sequence[str], configs: Sequence[str]) -> None:
        self.command = command
        self.arguments = list(arguments)
        self.configs = [str(base_config()), *configs]
        self.name = run_name(configs)
        self.folder: Path | None = None
        # environments are dataclasses, of which jsonargparse takes no subclasses unless told to
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True, subclasses_enabled=[EnvConfig])
        super().__init__(
            model_class=Learner,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            parser_kwargs={
                "prog": f"iqlightning {command}",
                "description": f"{command}: settings are those of configs/base.yaml, each --config, the options. "
                f"--trust PACKAGE: {TRUST_HELP}.",
                "parser_mode": _MODE,
                "exit_on_error": False,
                "allow_abbrev": False,
            },
            args=self.arguments,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    # ---- parsing

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed; unlike Lightning's it is a number in every run, so that every run can be repeated."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of weights, data and demonstrations.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What the commands have beyond Lightning's own, and the links between settings."""
        parser.add_lightning_class_args(BestAndLast, "checkpoint")
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="Checkpoint to continue from or to play: a file, or last or best of the newest run of this NAME.",
        )
        parser.add_argument(
            "--base",
            type=str | None,
            default=None,
            help="Key of configuration files: the file read before this one, such as gridworld.yaml.",
        )
        parser.add_argument(
            "--threads",
            type=int | None,
            default=None,
            help="CPU threads of torch; default OMP_NUM_THREADS if it is set, otherwise 1, which small networks want.",
        )
        if self.command == "predict":
            parser.add_argument(
                "--output", type=str | None, default=None, help="Write predictions here (.safetensors)."
            )
            parser.add_argument("--force", action="store_true", help="Replace the file, whoever made it.")
        link_settings(parser)
        _bound_what_is_read()

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses ``base.yaml`` and the arguments; mistakes become one sentence."""
        arguments = ["--config", self.configs[0], *self.arguments]
        try:
            self.config = parser.parse_args(arguments)
        except argparse.ArgumentError as error:
            known = user_error_behind(error)
            raise known or explain(str(error), parser, self.configs, self.arguments) from error
        except OmegaConfBaseException as error:
            raise explain_interpolation(error) from error
        except RecursionError as error:
            raise UserError("a file that the configuration names is nested too deeply, or refers to itself") from error
        expand_homes(self.config)
        _require_64_bits(self.config)
        for section in ("trainer", "checkpoint"):
            if not isinstance(self.config.get(section), Namespace):
                raise UserError(f"{section} must be keys and values, not {self.config.get(section)!r:.80}")
        refuse_null_values(self.config, {"trainer": Trainer, "checkpoint": BestAndLast})
        seed = self.config.seed_everything
        if seed is None or not 0 <= seed <= _LARGEST_SEED:
            raise UserError(f"seed_everything must be a whole number from 0 to {_LARGEST_SEED}, not {seed}")
        join_log_intervals(self.config, self.arguments, self.configs)

    # ---- building

    def before_instantiate_classes(self) -> None:
        """Sets threads, and checks what can be checked before anything is built."""
        torch.set_num_threads(_threads(self.config.threads))
        root = self.config.trainer.default_root_dir or "logs"
        self.config.trainer.default_root_dir = root
        self.checkpoint: Path | None = None
        if self.config.ckpt_path is not None:
            self.checkpoint = find_checkpoint(self.config.ckpt_path, root, self.name)
        elif self.command != "fit":
            raise UserError(
                f"{self.command} needs the weights of a run: --ckpt_path FILE, or --ckpt_path best for the newest run "
                f"of '{self.name}'"
            )
        if self.command == "predict" and self.config.output is not None:
            force, mark = self.config.force, mark_of(self.command)
            check_output(self.config.output, "predictions file", force=force, mark=mark)
        _plain_texts(self.config)
        dumped = yaml.safe_load(self.parser.dump(self.config, skip_link_targets=False, skip_unset=False, format="yaml"))
        self.settings = {key: dumped[key] for key in ("model", "data")}
        if self.checkpoint is not None:
            if self.command == "fit":
                refuse_other_settings(self.checkpoint, self.settings, self.config.trainer.max_steps)
            else:
                read_checkpoint(self.checkpoint)  # whatever plugin reads it later, it holds nothing that could run

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer; a mistake found by one of their constructors is told as such."""
        try:
            super().instantiate_classes()
        except BaseException as error:
            self._drop_folder()
            if not isinstance(error, UserError) and (known := user_error_behind(error)) is not None:
                raise known from error
            if (missing := missing_package(error)) is not None:
                raise missing from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Takes a folder for the run and adds what every run has: loggers, checkpoints, a record of its settings."""
        config: dict[str, Any] = dict(self.config_init["trainer"]) | kwargs
        _require_few_devices(config["devices"])
        callbacks = self._listed(config["callbacks"])
        plugins = self._listed(config["plugins"])
        if not any(isinstance(each, CheckpointIO) for each in plugins):
            plugins.append(VerifiedCheckpointIO())
        checkpoints = config["enable_checkpointing"] is not False
        if self.command == "fit" and not config["fast_dev_run"]:
            self.folder = take_run_folder(Path(config["default_root_dir"]), self.name)
            if config["logger"] in (None, True):
                config["logger"] = run_loggers(self.folder)
            if checkpoints:
                keeper: BestAndLast = self.config_init["checkpoint"]
                if keeper.dirpath is None:
                    keeper.dirpath = str((self.folder / "checkpoints").resolve())
                callbacks += [StopOnSignal(), keeper]
            callbacks.append(RunRecord(self.folder, self._recorded(), self.settings, self.config.seed_everything))
        else:
            config["enable_checkpointing"] = False
            if config["logger"] is True or config["logger"] is None:
                config["logger"] = False
        try:
            config |= {"callbacks": callbacks, "plugins": plugins}
            return self.trainer_class(**config)
        except (MisconfigurationException, ValueError, TypeError) as error:
            self._drop_folder()
            raise UserError(f"the trainer's settings do not go together: {first_sentence(error)}") from error

    # ---- running

    def execute(self) -> None:
        """Runs the command."""
        common: dict[str, Any] = {"model": self.model, "datamodule": self.datamodule, "ckpt_path": self.checkpoint}
        common["weights_only"] = True
        try:
            if self.command == "predict":
                if self.trainer.world_size > 1:
                    raise UserError("predict writes the predictions of one process; take --trainer.devices 1")
                predictions = self.trainer.predict(**common)
                write_predictions(predictions or [], self.config.output, mark_of(self.command))
            else:
                with heard_once():
                    self._fit_or_play(common)
        except BaseException as error:
            self._drop_folder()
            if mistake := self._mistake(error):
                raise mistake from error
            raise

    def _fit_or_play(self, common: Mapping[str, Any]) -> None:
        if self.command == "fit":
            self.trainer.fit(**common)
            return
        # Lightning's own table of results cuts names and knows no units
        logged = getattr(self.trainer, self.command)(verbose=False, **common)
        if self.trainer.is_global_zero:
            assert self.checkpoint is not None
            figures = {name: figure for each in logged for name, figure in each.items()}
            title = f"{self.command}: {short_path(self.checkpoint)}"
            PlainConsole().print(logged_table(title, self.datamodule.env.FIGURES, figures))

    # ---- parts

    def _mistake(self, error: BaseException) -> UserError | None:
        """The sentence for an error of the user; None if it has one already, or is none."""
        if isinstance(error, MisconfigurationException):
            return UserError(first_sentence(error))
        if isinstance(error, RuntimeError) and (missing := missing_monitor(self.trainer, error)):
            return missing
        if isinstance(error, OSError):
            return disk_trouble(error, self.folder)
        if isinstance(error, RuntimeError) and "negative dimension" in str(error):
            return UserError(f"a size among the model's settings is negative: {first_sentence(error)}")
        if isinstance(error, Exception) and not isinstance(error, UserError) and self._was_resuming(error):
            kind = type(error).__name__
            return UserError(
                f"'{self.checkpoint}' cannot be continued from: what it holds is not of such a run ({kind}: "
                f"{first_sentence(error)})"
            )
        return None

    def _was_resuming(self, error: Exception) -> bool:
        """Whether an error came out of restoring the checkpoint."""
        places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        return self.checkpoint is not None and any(place.endswith("checkpoint_connector.py") for place in places)

    def _drop_folder(self) -> None:
        if self.folder is not None:
            drop_unused(self.folder, getattr(self, "trainer", None))

    def _recorded(self) -> str:
        """The run's settings as YAML from which it can be repeated."""
        config = self.config.clone()
        for key in ("config", "ckpt_path", "base"):
            config.pop(key, None)
        return self.parser.dump(config, skip_unset=False, format="yaml")

    @staticmethod
    def _listed(value: Any) -> list[Any]:
        if value is None:
            return []
        return list(value) if isinstance(value, (list, tuple)) else [value]


def _threads(wanted: int | None) -> int:
    if wanted is not None:
        most = _most_at_once()
        if wanted < 1:
            raise UserError(f"threads must be at least 1, not {wanted}")
        if wanted > most:
            raise UserError(f"threads must be at most {most} here, not {wanted}")
        return wanted
    # torch has read the variable itself
    return torch.get_num_threads() if os.environ.get("OMP_NUM_THREADS") else 1


def _require_64_bits(config: Any, key: str = "") -> None:
    """Refuses whole numbers that no tensor holds."""
    if isinstance(config, Namespace | dict):
        for name, value in (vars(config) if isinstance(config, Namespace) else config).items():
            _require_64_bits(value, key if name == "init_args" else f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for each in config:
            _require_64_bits(each, key)
    elif isinstance(config, int) and not -(1 << 63) <= config < 1 << 63:
        raise UserError(f"{key} is {config:.3g}, which is beyond 64 bits")


def _bound_what_is_read() -> None:
    """Has jsonargparse count what any file or text stands for, also one that a configuration names, before it reads."""
    small = ArgumentParser(parser_mode=_MODE)
    small.add_argument("--key")
    small.parse_string("{key: value}")  # before the first use of a mode there is no loader of it
    plain = get_loader(_MODE)

    def bounded(value: str) -> Any:
        with contextlib.suppress(yaml.YAMLError):  # which the loader itself tells better
            require_small_yaml(value, "a file that the configuration names")
        return plain(value)

    if plain.__name__ != bounded.__name__:
        set_loader(_MODE, bounded, exceptions=(yaml.YAMLError,))


def _most_at_once() -> int:
    """Threads, or processes, with which a machine can still do something."""
    return max(_MOST_THREADS, 4 * (os.cpu_count() or 1))


def _require_few_devices(devices: Any) -> None:
    count = int(devices) if isinstance(devices, str) and devices.strip().isdecimal() else devices
    if isinstance(count, int) and count > _most_at_once():
        raise UserError(f"trainer.devices must be at most {_most_at_once()} here, not {count}")


def _plain_texts(config: Namespace) -> None:
    """Replaces texts that are members of an enumeration, as some defaults are, by texts that can be written down."""
    for key, value in config.items():
        if isinstance(value, Enum) and isinstance(value, str):
            config[key] = value.value
        for each in value if isinstance(value, list) else []:
            if isinstance(each, Namespace):
                _plain_texts(each)
