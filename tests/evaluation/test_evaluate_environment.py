from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from jaxtyping import Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.evaluation.environment import evaluate_environment, play_episodes
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.keyed import Stream
from iqlightning.spaces import Spaces, contains_actions
from iqlightning.types import BatchEnv, EnvConfig, StepResult

SPACES = Spaces(spaces.Box(0, 100, (1,)), spaces.Discrete(2))


class Counting:
    """Environment i has episodes of 1 + i % 3 moves, each worth i + 1; the observation is i."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self.spaces = SPACES
        self.device = torch.device("cpu")
        self.num_envs = num_envs
        self.index = torch.arange(num_envs) + seed
        self.move = torch.zeros(num_envs, dtype=torch.int64)

    @property
    def observations(self) -> Tensor:
        return self.index[:, None].float()

    def reset(self) -> Tensor:
        self.move[:] = 0
        return self.observations

    def step(self, actions: Int[Tensor, " num_envs"]) -> StepResult:
        self.move += 1
        done = self.move == 1 + self.index % 3
        self.move[done] = 0
        rewards = (self.index + 1).float()
        return StepResult(self.observations, self.observations, rewards, done, torch.zeros_like(done))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass(frozen=True)
class CountingConfig(EnvConfig):
    @property
    def name(self) -> str:
        return "counting"

    @property
    def spaces(self) -> Spaces:
        return SPACES

    def make_batch(
        self,
        num_envs: int,
        *,
        seed: int,
        split: str = "any",
        device: Any = "cpu",
        first: int = 0,
        every: int = 1,
    ) -> BatchEnv:
        assert (first, every) == (0, 1), "evaluation plays episodes, not a share of environments"
        return Counting(num_envs, seed)


class Still:
    def act(self, observations: Tensor, *, sample: bool = False) -> Int[Tensor, " batch"]:
        return torch.zeros(len(observations), dtype=torch.int64)


def test_every_episode_is_whole_and_none_is_favoured_for_being_short() -> None:
    results = play_episodes(Still(), CountingConfig(), 7, 0, num_envs=3)
    assert results.lengths.tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert results.returns.tolist() == [1.0, 4.0, 9.0, 1.0, 4.0, 9.0, 1.0]


def test_an_evaluation_with_drawn_actions_repeats_itself() -> None:
    config = GridWorldConfig(height=4, width=4)
    policy = RandomPolicy(config.spaces.action)
    one, other, another = (play_episodes(policy, config, 40, seed, sample=True).returns for seed in (0, 0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, another)


def test_figures_are_those_of_the_episodes() -> None:
    results = play_episodes(Still(), CountingConfig(), 4, 0, num_envs=8)
    figures = results.metrics()
    assert figures["episodes"] == 4
    assert figures["mean_return"] == pytest.approx(results.returns.mean().item())
    assert figures["std_return"] == pytest.approx(results.returns.std().item())
    assert figures["mean_length"] == pytest.approx(results.lengths.double().mean().item())


def test_ranks_share_the_episodes_and_play_different_ones() -> None:
    shares = [play_episodes(Still(), CountingConfig(), 5, 0, num_envs=4, rank=r, world_size=2) for r in range(2)]
    assert [len(share.returns) for share in shares] == [3, 2]
    assert shares[1].returns.tolist() == [5.0 * (1 + 4 % 3), 6.0 * (1 + 5 % 3)]
    nothing = play_episodes(Still(), CountingConfig(), 1, 0, rank=1, world_size=2)
    assert len(nothing.returns) == 0


def test_progress_counts_every_episode_once() -> None:
    finished: list[int] = []
    play_episodes(Still(), CountingConfig(), 10, 0, num_envs=4, progress=finished.append)
    assert sum(finished) == 10


def test_an_environment_that_plays_in_its_own_way_is_asked_first() -> None:
    config = GridWorldConfig(height=4, width=4)
    policy = RandomPolicy(config.spaces.action)
    assert isinstance(evaluate_environment(policy, config, 5, 0), GridWorldResults)
    results = evaluate_environment(Still(), CountingConfig(), 4, 0)
    assert set(results.metrics()) >= {figure.name for figure in CountingConfig.FIGURES}


def test_random_actions_of_a_box_lie_within_it_and_depend_on_the_keys_alone() -> None:
    box = spaces.Box(np.array([[-1.0, 0.0]], dtype=np.float32), np.array([[1.0, 10.0]], dtype=np.float32))
    policy, episodes = RandomPolicy(box), torch.arange(2000)
    actions = policy.draw(torch.zeros(2000, 3), (Stream.SAMPLE, 0, episodes, 7))
    assert actions.shape == (2000, 1, 2)
    assert contains_actions(box, actions).all()
    torch.testing.assert_close(actions.mean(0), torch.tensor([[0.0, 5.0]]), atol=0.3, rtol=0)
    torch.testing.assert_close(actions[5:6], policy.draw(torch.zeros(1, 3), (Stream.SAMPLE, 0, episodes[5:6], 7)))
    assert not torch.equal(policy.act(torch.zeros(8, 3)), policy.act(torch.zeros(8, 3)))
    with pytest.raises(UserError, match="between the bounds"):
        RandomPolicy(spaces.Box(-np.inf, np.inf, (2,)))
