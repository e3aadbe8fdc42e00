"""Learning by method, not by luck: ten seeds of each way of learning reach what the expert reaches on a small grid."""

from typing import Any

import pytest

from iqlightning.analysis.intervals import estimate
from iqlightning.checkpoints import load_policy
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.expert_policy import ShortestPathPolicy
from iqlightning.gridworld.evaluation.play import evaluate_gridworld

SEEDS = 10
ENOUGH = 0.95
GRID = GridWorldConfig("random_everything", 4, 4, num_walls=2)
EPISODES = 400

_GRID = "env: {class_path: GridWorldConfig, init_args: {level: random_everything, height: 4, width: 4, num_walls: 2}}"
_ENCODER = "encoder: CentredCNN"
_IMITATION = f"""
    data:
      class_path: ImitationData
      init_args: {{{_GRID}, episodes: 400, symmetries: true, batch_size: 64, updates_per_epoch: 600,
        updates_per_step: 50}}
    trainer: {{accelerator: cpu, max_steps: 600, callbacks: []}}
    checkpoint: {{monitor: null}}
"""

LEARNERS = {
    "iq_learn": f"""
    model:
      class_path: IQLearn
      init_args: {{{_ENCODER}, divergence: TotalVariation,
        value: {{class_path: SoftValue, init_args: {{temperature: 0.1}}}}}}
    {_IMITATION}
    """,
    "cloning": f"""
    model: {{class_path: BehaviorCloning, init_args: {{{_ENCODER}}}}}
    {_IMITATION}
    """,
    "dqn": f"""
    model:
      class_path: DQN
      init_args: {{{_ENCODER}, gamma: 0.9, epsilon_steps: 10000, reward_scale: 0.1}}
    data:
      class_path: ReplayData
      init_args: {{{_GRID}, num_envs: 16, batch_size: 64, warmup_steps: 1000, steps_per_update: 16,
        updates_per_epoch: 1000, updates_per_step: 50}}
    trainer: {{accelerator: cpu, max_steps: 1000, callbacks: []}}
    checkpoint: {{monitor: null}}
    """,
}


def run(workplace, name: str, seed: int) -> Any:
    """The policy that a run of this seed ends with."""
    return load_policy(
        workplace.fit("--seed_everything", str(seed), config=f"{name}.yaml") / "checkpoints" / "last.ckpt"
    )


def score(policy: Any) -> float:
    """Mean return on unseen grids, where 0 is a random policy's and 1 the expert's."""
    low, high, found = (
        evaluate_gridworld(each, GRID, EPISODES, 0).metrics()["mean_return"]
        for each in (RandomPolicy(GRID.spaces.action), ShortestPathPolicy(), policy)
    )
    return (found - low) / (high - low)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_ten_seeds_reach_what_the_expert_reaches(workplace, name, record_property):
    workplace.write(f"{name}.yaml", LEARNERS[name])
    scores = [score(run(workplace, name, seed)) for seed in range(SEEDS)]
    found = estimate(scores)
    assert found.low is not None
    assert found.high is not None
    said = (
        f"{name}: {found.mean:.1%} of the expert, 95% interval {found.low:.1%} to {found.high:.1%} over {SEEDS} seeds"
    )
    print(said)
    record_property("found", said)
    assert min(scores) >= ENOUGH, (said, scores)


def test_a_few_updates_of_imitation_are_already_better_than_chance(workplace):
    workplace.write("iq_learn.yaml", LEARNERS["iq_learn"].replace("600", "60"))
    assert score(run(workplace, "iq_learn", 0)) > 0.3
