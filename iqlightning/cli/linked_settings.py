"""Settings that follow others: some are set from another, and two names are one setting."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from iqlightning.cli.config_files import keys_given, where_is
from iqlightning.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningArgumentParser

__all__ = ["join_log_intervals", "link_settings", "refuse_following"]

# source to the settings that follow it, where the chosen class has them
_LINKS = {
    "seed_everything": ("model.init_args.seed", "data.init_args.seed"),
    "model.init_args.gamma": ("data.init_args.gamma",),
}

# two names of one setting, the updates between two logged points of train/ figures
_OF_MODEL, _OF_TRAINER = "model.log_every", "trainer.log_every_n_steps"


def link_settings(parser: "LightningArgumentParser") -> None:
    """Has the parser set what follows from its source."""
    for source, targets in _LINKS.items():
        for target in targets:
            parser.link_arguments(source, target)


def refuse_following(arguments: Sequence[str], configs: Sequence[str]) -> None:
    """A setting that follows another cannot be set: jsonargparse would overwrite it without a word.

    Raises:
        UserError: if one of them sets such a setting.
    """
    given = keys_given(arguments)
    for source, targets in _LINKS.items():
        for target in targets:
            key, leader = target.replace(".init_args.", "."), source.replace(".init_args.", ".")
            file = where_is(key, configs)
            if key in given or file is not None:
                where = f" (in {file})" if file is not None else ""
                raise UserError(f"{key}{where} follows {leader} and cannot be set by itself; set {leader}")


def join_log_intervals(config: Namespace, arguments: Sequence[str], configs: Sequence[str]) -> None:
    """``model.log_every`` and ``trainer.log_every_n_steps`` are one setting: the one that is set last holds.

    Args:
        config: all settings; these two are made equal.
        arguments: of the command line.
        configs: the files that were read, ``base.yaml`` first.

    Raises:
        UserError: if one file, or the command line, sets both of them, differently.
    """
    model = config.model.get("init_args") or Namespace()
    values = {_OF_MODEL: model.get("log_every"), _OF_TRAINER: config.trainer.log_every_n_steps}
    last = {key: _place(key, arguments, configs) for key, value in values.items() if value is not None}
    if len(last) == 2 and len(set(last.values())) == 1 and any(last.values()) and len(set(values.values())) == 2:
        raise UserError(
            f"{' and '.join(f'{key} {value}' for key, value in values.items())} are one setting, the updates "
            "between two logged points of train/ figures; give one of them"
        )
    key = max(last, key=last.__getitem__, default=None)
    if key is not None and last[key]:
        config.trainer.log_every_n_steps = values[key]
        if "log_every" in model:
            model.log_every = values[key]


def _place(key: str, arguments: Sequence[str], configs: Sequence[str]) -> int:
    """Of the last configuration that sets a key; the command line comes last, ``base.yaml`` is number 0."""
    if key in keys_given(arguments):
        return len(configs)
    return max((place for place, path in enumerate(configs) if where_is(key, [path])), default=0)
