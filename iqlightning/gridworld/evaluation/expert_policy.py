"""The expert as a policy: it reads the map off an observation, so that it can be played beside any other."""

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from iqlightning.evaluation.choice import draw_actions
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import shortest_paths
from iqlightning.gridworld.game.rules import next_cells_from
from iqlightning.keyed import Stream, hash_keys, uniform

__all__ = ["ShortestPathPolicy"]


class ShortestPathPolicy:
    """The expert: reads walls, player and goal off the observation and takes a shortest path.

    Greedy takes the first optimal action in the order up, right, down, left; sampled is uniform among them. Plans are
    kept, since an episode asks for the same map at each of its moves: a map is known again by a 64-bit hash.

    Args:
        seed: of the keyed numbers of sampled actions; successive calls continue the sequence.
        max_cells: kept plans are dropped when they hold more cells than this.
    """

    def __init__(self, seed: int = 0, max_cells: int = 16_000_000) -> None:
        self.seed = seed
        self.max_cells = max_cells
        self._calls = 0
        self._known: Tensor | None = None
        self._distances: Tensor | None = None

    def probabilities(self, observations: Real[Tensor, "batch planes height width"]) -> Float[Tensor, "batch actions"]:
        """Uniform over the optimal actions, uniform over all of them where the goal cannot be reached or is reached."""
        walls, player, goal = parse(observations)
        distances = self._plan(walls, goal).flatten(1)
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

    def _plan(self, walls: Tensor, goal: Tensor) -> Tensor:
        """Moves to the goal of every cell (B, H, W), planned once for each different map."""
        batch, height, width = walls.shape
        cells = torch.arange(height * width, device=walls.device)
        # a sum of hashes of the wall cells tells sets of walls apart (Zobrist hashing with keyed numbers)
        keys = (walls.flatten(1) * hash_keys(Stream.EXPERT, height, width, cells)).sum(-1)
        keys = hash_keys(keys, goal)
        if self._known is None or self._distances is None or self._distances.shape[1:] != walls.shape[1:]:
            self._known, self._distances = keys[:0], shortest_paths(walls[:0], goal[:0])
        if self._known.device != keys.device:
            self._known, self._distances = self._known.to(keys.device), self._distances.to(keys.device)
        missing = ~torch.isin(keys, self._known)
        if missing.any():
            if self._distances.numel() + batch * height * width > self.max_cells:
                self._known, self._distances = keys[:0], self._distances[:0]
                missing = torch.ones_like(missing)
            fresh = shortest_paths(walls[missing], goal[missing])
            self._known, order = torch.cat([self._known, keys[missing]]).sort()
            self._distances = torch.cat([self._distances, fresh])[order]
        return self._distances[torch.searchsorted(self._known, keys)]
