"""A Q-function given as a table over the cells of some grids, and a corridor small enough for a pencil."""

from collections.abc import Callable

import torch

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.losses.values import ValueFunction

# cells 0 and 1, goal on 2
CORRIDOR = Layouts(torch.zeros(1, 1, 3, dtype=torch.bool), torch.tensor([0]), torch.tensor([2]))


def grids(count: int = 6, first: int = 0) -> Layouts:
    config = GridWorldConfig("random_everything", 5, 5, num_walls=4)
    return draw_layouts(config, torch.zeros(count, dtype=torch.int64), torch.arange(first, first + count))


class TablePolicy:
    """Looks Q up by walls, goal and player."""

    def __init__(self, layouts: Layouts, q: torch.Tensor, value: ValueFunction, gamma: float) -> None:
        self.table = {
            self.key(walls, int(goal)): one for walls, goal, one in zip(layouts.walls, layouts.goal, q, strict=True)
        }
        self.value: Callable[[torch.Tensor], torch.Tensor] = value
        self.gamma = gamma

    @staticmethod
    def key(walls: torch.Tensor, goal: int) -> tuple[bytes, int]:
        return walls.numpy().tobytes(), goal

    def q_values(self, observations: torch.Tensor) -> torch.Tensor:
        walls, player, goal = parse(observations)
        rows = zip(walls, player, goal, strict=True)
        return torch.stack([self.table[self.key(wall, int(g))][int(p)] for wall, p, g in rows])
