"""A resumed run goes on with the settings it began with: what differs is refused, never ignored in silence."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iqlightning.analysis.runs import class_named, flat_settings
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.cli.signatures import defaults_of, imported
from iqlightning.errors import UserError

__all__ = ["SETTINGS_KEY", "refuse_other_settings"]

#: Where a checkpoint keeps the settings of the run that wrote it.
SETTINGS_KEY = "settings"

# where things lie on this machine, not what is learnt; and how updates are grouped, which changes no number
# (the demonstrations in a file are compared when they are loaded, so that it may have been moved)
_FREE = ("data.directory", "data.path", "data.updates_per_step", "model.log_every")

_SHOWN = 4


def refuse_other_settings(path: Path, settings: Mapping[str, Any], max_steps: int = -1) -> None:
    """Compares the model and data settings of a run with those that a checkpoint was trained with.

    The trainer's settings may change: they are honoured (more steps, other devices, another precision). That nothing is
    left to train is said.

    Args:
        path: the checkpoint to resume from.
        settings: ``model`` and ``data`` of this run.
        max_steps: updates after which this run ends; negative for no end.

    Raises:
        UserError: if they differ, or more updates were made than this run shall make; it names what and both values.
    """
    checkpoint = read_checkpoint(path)
    made = checkpoint.get("global_step", 0)
    if type(made) is not int or made < 0:
        raise UserError(f"'{path}' cannot be continued from: its number of updates is {made!r:.40}")
    if 0 <= max_steps < made:
        raise UserError(
            f"'{path}' has made {made} updates, more than --trainer.max_steps {max_steps}; give a larger number to go "
            "on, or start a new run without --ckpt_path"
        )
    stored = checkpoint.get(SETTINGS_KEY)
    if stored is None:
        return
    before, now = dict(flat_settings(stored)) | dict(_not_known_then(stored, settings)), dict(flat_settings(settings))
    differing = [
        f"{name} {before.get(name, 'unset')} (now {now.get(name, 'unset')})"
        for name in sorted(before.keys() | now.keys())
        if name not in _FREE and before.get(name) != now.get(name)
    ]
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise UserError(
            f"'{path}' was trained with {', '.join(differing[:_SHOWN])}{more}: a resumed run goes on with the settings "
            "it began with; give the same ones, or start a new run without --ckpt_path"
        )

    if made == max_steps:
        print(f"iqlightning: '{path}' has made all {made} updates: there is nothing left to train", file=sys.stderr)


def _not_known_then(stored: Any, settings: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Settings that the program which wrote the checkpoint did not have: it did what their defaults do."""
    if not isinstance(settings, Mapping) or not isinstance(stored, Mapping):
        return []
    pairs = []
    arguments = settings.get("init_args")
    if isinstance(arguments, Mapping) and class_named(stored.get("class_path")) == class_named(
        settings.get("class_path")
    ):
        defaults = defaults_of(imported(settings["class_path"]))
        known = stored.get("init_args") or {}
        pairs += [
            pair
            for name in arguments
            if name not in known and name in defaults
            for pair in flat_settings(defaults[name], f"{prefix}.{name}")
        ]
    for key in settings.keys() & stored.keys():
        name = prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key)
        pairs += _not_known_then(stored[key], settings[key], name)
    return pairs
