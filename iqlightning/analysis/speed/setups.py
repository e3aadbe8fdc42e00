"""What is timed: the configurations for ``fit`` and the same data, networks and numbers for the plain loops."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iqlightning.analysis.speed.plain_learning import PlainData
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.data.write_in_pieces import write_in_pieces
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.types import EnvConfig, Trajectories

__all__ = [
    "HIDDEN",
    "Demonstrated",
    "dqn_config",
    "grid_demonstrations",
    "iq_config",
    "large_demonstrations",
    "perceptron_config",
    "small_demonstrations",
]

HIDDEN = (128, 128)


@dataclass(frozen=True)
class Demonstrated:
    """Demonstrations as a file for ``fit``, and as they are for a plain loop."""

    env: EnvConfig
    path: Path
    trajectories: Trajectories

    def plain(self, together: int = 1) -> PlainData:
        """As a plain loop wants them."""
        found = self.trajectories.transitions()
        return PlainData(
            found.obs.float(),
            found.actions,
            found.next_obs.float(),
            found.terminated,
            self.trajectories.starts,
            together,
        )


def small_demonstrations(folder: Path, episodes: int = 200, moves: int = 50) -> Demonstrated:
    """Numbers in the shape of CartPole's: 4 inputs, 2 actions; their values do not matter for the speed."""
    generator = torch.Generator().manual_seed(0)
    transitions = episodes * moves
    trajectories = Trajectories(
        observations=torch.randn(transitions + episodes, 4, generator=generator),
        actions=torch.randint(2, (transitions,), generator=generator),
        rewards=torch.ones(transitions),
        starts=torch.arange(episodes + 1) * moves,
        terminated=torch.ones(episodes, dtype=torch.bool),
        truncated=torch.zeros(episodes, dtype=torch.bool),
    )
    return _saved(GymnasiumConfig("CartPole-v1"), folder / "small.safetensors", trajectories)


def grid_demonstrations(folder: Path, episodes: int = 450) -> Demonstrated:
    """The study's: 450 shortest paths on 10x10 grids."""
    env = GridWorldConfig()
    return _saved(env, folder / "grid.safetensors", shortest_path_demonstrations(env, episodes, 0))


def large_demonstrations(folder: Path, transitions: int) -> "Demonstrated":
    """Shortest paths again and again, until there are about so many transitions; they never are in memory together."""
    env = GridWorldConfig()
    part = shortest_path_demonstrations(env, 10_000, 0)
    path = folder / "large.safetensors"
    times = max(1, round(transitions / part.num_transitions))
    metadata = {"env": env.to_dict(), "seed": 0, "source": "bench", "recipe": {}}
    write_in_pieces(path, (part for _ in range(times)), metadata)
    return Demonstrated(env, path, part)


def _saved(env: EnvConfig, path: Path, trajectories: Trajectories) -> Demonstrated:
    save_demonstrations(path, trajectories, {"env": env.to_dict(), "seed": 0, "source": "bench", "recipe": {}})
    return Demonstrated(env, path, trajectories)


def iq_config(demonstrated: Demonstrated, encoder: Any, batch_size: int, **changes: Any) -> dict[str, Any]:
    """IQ-Learn as the plain loop does it: chi2, value term on expert states, soft value, Adam.

    Args:
        demonstrated: the data.
        encoder: class path and arguments.
        batch_size: transitions of a batch.
        changes: ``model`` and ``data`` settings beyond these.
    """
    monitor = "val/distance_ratio" if isinstance(demonstrated.env, GridWorldConfig) else "val/mean_return"
    return {
        "model": {
            "class_path": "IQLearn",
            "init_args": {"encoder": encoder, "divergence": "Chi2", "value": "SoftValue"} | changes.get("model", {}),
        },
        "data": {
            "class_path": "ImitationData",
            "init_args": {"path": str(demonstrated.path), "batch_size": batch_size} | changes.get("data", {}),
        },
        "checkpoint": {"monitor": monitor, "mode": "min" if "ratio" in monitor else "max"},
    }


def perceptron_config(demonstrated: Demonstrated, batch_size: int, *, compile: bool = False) -> dict[str, Any]:
    """A small perceptron; grouping, logging and epochs as in ``configs/cartpole_iq.yaml``."""
    encoder = {"class_path": "MLP", "init_args": {"hidden": list(HIDDEN)}}
    model = {"compile": compile, "log_every": 50}
    data = {"updates_per_step": 25, "updates_per_epoch": 2500}
    return iq_config(demonstrated, encoder, batch_size, model=model, data=data)


def dqn_config(env: GridWorldConfig, batch_size: int, every: int, num_envs: int, **model: Any) -> dict[str, Any]:
    """DQN with an MLP: one update for ``every`` environment steps; epochs as in ``configs/cartpole_dqn.yaml``."""
    return {
        "model": {
            "class_path": "DQN",
            "init_args": {
                "encoder": {"class_path": "MLP", "init_args": {"hidden": list(HIDDEN)}},
                "reward_scale": 0.1,
                "target": {"class_path": "TargetUpdate", "init_args": {"every": 1, "rate": 0.02}},
                "max_grad_norm": None,
                "log_every": 50,
                **model,
            },
        },
        "data": {
            "class_path": "ReplayData",
            "init_args": {
                "env": {"class_path": "GridWorldConfig", "init_args": {"height": env.height, "width": env.width}},
                "num_envs": num_envs,
                "batch_size": batch_size,
                "steps_per_update": every,
                "updates_per_step": 25,
                "updates_per_epoch": 1000,
            },
        },
    }
