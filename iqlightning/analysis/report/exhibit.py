"""What a report shows: a group of runs, its environment, and the policy of its first seed."""

from collections.abc import Mapping
from typing import NamedTuple

from iqlightning.analysis.runs import Group, Run
from iqlightning.checkpoints import load_policy
from iqlightning.errors import UserError
from iqlightning.policies import AgentPolicy
from iqlightning.registration import env_config_from_dict
from iqlightning.types import EnvConfig

__all__ = ["Exhibit", "environment_of", "exhibit"]


class Exhibit(NamedTuple):
    """A group of runs.

    Attributes:
        group: of runs.
        colour: number of its colour.
        env: the environment, None if it is not known.
        policy: of the first seed's checkpoint, None if there is none.
        trouble: why there is no policy.
        played: figures of the policy, where no run has a final table.
    """

    group: Group
    colour: int
    env: EnvConfig | None
    policy: AgentPolicy | None = None
    trouble: str = ""
    played: Mapping[str, float] | None = None

    @property
    def place(self) -> str:
        """What the environment is called."""
        return "unknown environment" if self.env is None else self.env.name


def exhibit(group: Group, episodes: int, seed: int) -> Exhibit:
    """Reads the checkpoint of the group's first seed; plays it where the run has no final table."""
    policy, trouble = None, "no checkpoint"
    if group.shown is not None and group.shown.checkpoint is not None:
        try:
            policy, trouble = load_policy(group.shown.checkpoint), ""
        except UserError as error:
            trouble = str(error)
    env = environment_of(group.runs[0]) if policy is None else policy.env
    results = None
    if env is not None and policy is not None and not any(run.summary for run in group.runs):
        try:
            results = env.play(policy, episodes, seed)
        except Exception as error:  # the checkpoint may be of another environment than it says
            policy, trouble = None, f"it cannot play: {error}"
    return Exhibit(group, 0, env, policy, trouble, None if results is None else results.metrics())


def environment_of(run: Run) -> EnvConfig | None:
    """The environment that a run's files tell of, if they do."""
    prefix = "data.env."
    settings = {key.removeprefix(prefix): value for key, value in run.settings.items() if key.startswith(prefix)}
    kind = settings.pop("class_path", "")
    try:
        return env_config_from_dict((run.summary or {}).get("env") or {"kind": kind, **settings})
    except UserError:
        return None
