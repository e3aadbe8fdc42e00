"""One GridWorld played by hand: the package's own rules, one move at a time."""

import torch

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.types import Trajectories

__all__ = ["Game", "draw_grid"]


def draw_grid(config: GridWorldConfig, seed: int, episode: int, split: str) -> Layouts:
    """One grid; people play those that may be learned from and watch those that may not."""
    return draw_layouts(config, torch.tensor([seed]), torch.tensor([episode]), split)


class Game:
    """One episode.

    Attributes:
        finished: None, ``goal`` or ``limit`` (the moves ran out).
    """

    def __init__(self, config: GridWorldConfig, layout: Layouts) -> None:
        self.config = config
        self.layout = layout
        self.finished: str | None = None
        self._state = GridWorldBatch.from_layouts(config, layout)
        self._observations = [self._state.observations]
        self._actions: list[int] = []
        self._rewards: list[torch.Tensor] = []

    @property
    def player(self) -> int:
        """Flat cell."""
        return int(self._state.player[0])

    @property
    def moves(self) -> int:
        """Moves made."""
        return len(self._actions)

    @property
    def shortest(self) -> int:
        """Moves of a shortest way from the start."""
        return int(self._state.shortest[0])

    def move(self, action: int) -> Trajectories | None:
        """Makes a move; returns the whole episode with the move that ends it. A finished game stays as it is."""
        if self.finished is not None:
            return None
        result = self._state.move(torch.tensor([action]))
        self._actions.append(action)
        self._rewards.append(result.rewards)
        self._observations.append(self._state.observations)
        if not (result.terminated | result.truncated).any():
            return None
        self.finished = "goal" if bool(result.terminated) else "limit"
        return Trajectories(
            observations=torch.cat(self._observations),
            actions=torch.tensor(self._actions),
            rewards=torch.cat(self._rewards),
            starts=torch.tensor([0, len(self._actions)]),
            terminated=result.terminated.clone(),
            truncated=result.truncated.clone(),
        )
