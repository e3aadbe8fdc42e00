"""The expert as a policy: it reads the map off an observation, so that it can be played beside any other."""

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from iqlightning.evaluation.choice import draw_actions
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import shortest_paths
from iqlightning.gridworld.game.rules import next_cells_from
from iqlightning.keyed import Stream, uniform

__all__ = ["ShortestPathPolicy"]


class ShortestPathPolicy:
    """The expert: reads walls, player and goal off the observation and takes a shortest path.

    Greedy takes the first optimal action in the order up, right, down, left; sampled is uniform among them.

    Args:
        seed: of the keyed numbers of sampled actions; successive calls continue the sequence.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._calls = 0

    def probabilities(self, observations: Real[Tensor, "batch planes height width"]) -> Float[Tensor, "batch actions"]:
        """Uniform over the optimal actions, uniform over all of them where the goal cannot be reached or is reached."""
        walls, player, goal = parse(observations)
        distances = shortest_paths(walls, goal).flatten(1)
        # as in planning.optimal_actions, but at the player's cell alone
        ahead = next_cells_from(walls, player)
        left = distances.gather(1, player[:, None])
        optimal = ((distances.gather(1, ahead) == left - 1) & (left > 0)).double()
        optimal = torch.where(optimal.any(1, keepdim=True), optimal, 1.0)
        return optimal / optimal.sum(1, keepdim=True)

    def act(
        self, observations: Real[Tensor, "batch planes height width"], *, sample: bool = False
    ) -> Int[Tensor, " batch"]:
        """The first optimal action, or one drawn uniformly among the optimal ones."""
        probabilities = self.probabilities(observations)
        if not sample:
            return (probabilities > 0).int().argmax(-1)
        rows = torch.arange(len(observations), device=observations.device)
        self._calls += 1
        return draw_actions(probabilities, uniform(Stream.EXPERT, self.seed, self._calls, rows))
