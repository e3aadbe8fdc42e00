"""A resumed run goes on with the settings it began with: what differs is refused, never ignored in silence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.errors import UserError

__all__ = ["SETTINGS_KEY", "refuse_other_settings"]

#: Where a checkpoint keeps the settings of the run that wrote it.
SETTINGS_KEY = "settings"

# where things lie on this machine, not what is learnt; and how updates are grouped, which changes no number
_FREE = ("data.directory", "data.updates_per_step", "model.log_every")

_SHOWN = 4


def refuse_other_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Compares the model and data settings of a run with those that a checkpoint was trained with.

    The trainer's settings may change: they are honoured (more steps, other devices, another precision).

    Args:
        path: the checkpoint to resume from.
        settings: ``model`` and ``data`` of this run.

    Raises:
        UserError: if they differ; it names what and both values.
    """
    stored = read_checkpoint(path).get(SETTINGS_KEY)
    if stored is None:
        return
    before, now = dict(_flat(stored)), dict(_flat(settings))
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


def _flat(settings: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys as on the command line (without ``init_args``) to values."""
    if not isinstance(settings, Mapping) or not settings:
        return [(prefix, settings)]
    pairs = []
    for key, value in settings.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key)
        pairs += _flat(value, name)
    return pairs
