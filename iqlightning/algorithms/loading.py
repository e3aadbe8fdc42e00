"""An algorithm again from a checkpoint alone: its settings, its agent, its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iqlightning.agents.older import agent_recipe_of, current_names
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.errors import UserError
from iqlightning.recorded import from_plain, is_complete
from iqlightning.registration import env_config_from_dict
from iqlightning.spaces import Spaces

__all__ = ["load_learner"]


def load_learner(kind: Any, path: str | Path, device: Any, strict: bool, changes: Mapping[str, Any]) -> Any:
    """See :meth:`iqlightning.algorithms.learner.Learner.load_from_checkpoint`."""
    checkpoint = read_checkpoint(path, device)
    record = checkpoint.get("iqlightning")
    if not isinstance(record, dict):
        raise UserError(f"'{path}' is a checkpoint, but not one of iqlightning")
    if record.get("algorithm") != kind.__name__:
        raise UserError(
            f"'{path}' is a checkpoint of {record.get('algorithm')}, not of {kind.__name__}; load_policy reads the "
            "policy of any"
        )
    stored = {name: value for name, value in _settings_of(checkpoint).items() if name not in changes}
    learner = kind(**{name: _built(name, value) for name, value in stored.items()}, **changes)
    learner.hparams.update({name: value for name, value in stored.items() if not is_complete(value)})
    spaces = Spaces.from_dict(agent_recipe_of(record)["spaces"])
    learner.build(None if record["env"] is None else env_config_from_dict(record["env"]), spaces)
    learner.on_load_checkpoint(checkpoint)
    try:
        learner.load_state_dict(current_names(checkpoint["state_dict"]), strict=strict)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise UserError(f"the weights in '{path}' are not those of these settings: {detail:.300}") from error
    return learner.to(device)


def _settings_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Of the algorithm; runs of earlier versions say them as their configuration did."""
    found = checkpoint.get("hyper_parameters")
    if found is None:
        found = checkpoint.get("settings", {}).get("model", {}).get("init_args")
    if not isinstance(found, dict):
        raise UserError("the checkpoint does not hold the settings of its algorithm; load_policy reads its policy")
    return found


def _built(name: str, value: Any) -> Any:
    return from_plain(value) if is_complete(value) else _MadeByFunction(name, value)


class _MadeByFunction:
    """Stands where a function of the user made something, of which no file can hold more than the name."""

    def __init__(self, name: str, described: Any) -> None:
        self.name, self.described = name, described

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        path = self.described.get("class_path") if isinstance(self.described, dict) else self.described
        raise UserError(
            f"the checkpoint's {self.name} was made by a function of your own, {path}, which no file can hold: give it "
            f"again, load_from_checkpoint(path, {self.name}=...)"
        )
