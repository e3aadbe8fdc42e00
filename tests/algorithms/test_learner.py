from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from small_runs import quiet_trainer, weights

from iqlightning.algorithms import DQN, BehaviorCloning, IQLearn, Learner
from iqlightning.algorithms.schedules import Steps
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.losses.iq import InitialStates
from iqlightning.losses.munchausen import Munchausen
from iqlightning.nets.encoders import MLP
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Transition

ENV = GridWorldConfig(level="random_everything", height=4, width=4, num_walls=2)


def small(shape: tuple[int, ...]) -> MLP:
    return MLP(shape, hidden=(16,))


def imitation(folder: Path, **options: Any) -> ImitationData:
    settings: dict[str, Any] = {"seed": 3} | options
    return ImitationData(ENV, episodes=40, batch_size=16, directory=str(folder), updates_per_epoch=10, **settings)


def replay(**options: Any) -> ReplayData:
    sizes: dict[str, Any] = {"num_envs": 8, "capacity": 400, "batch_size": 16, "warmup_steps": 64}
    return ReplayData(ENV, **sizes, steps_per_update=4.0, updates_per_epoch=10, seed=3, **options)


def train(model: Learner, data: Any, updates: int = 25, **options: Any) -> lightning.Trainer:
    trainer = quiet_trainer(max_steps=updates, limit_val_batches=0, **options)
    trainer.fit(model, data)
    return trainer


@pytest.mark.parametrize("updates_per_step", [3, 8, 100])
def test_the_grouping_of_updates_changes_nothing_offline(updates_per_step: int, tmp_path: Path):
    def run(group: int) -> torch.Tensor:
        model = IQLearn(small, value_term=InitialStates(), target=TargetUpdate(rate=0.1), seed=1)
        trainer = train(model, imitation(tmp_path, updates_per_step=group))
        assert trainer.global_step == 25
        return weights(model)

    assert torch.equal(run(1), run(updates_per_step))


@pytest.mark.parametrize("updates_per_step", [4, 8])
def test_the_grouping_of_updates_changes_nothing_with_rollouts(updates_per_step: int):
    def run(group: int) -> torch.Tensor:
        model = DQN(small, seed=1)
        train(model, replay(updates_per_step=group))
        return weights(model)

    assert torch.equal(run(1), run(updates_per_step))


def test_the_munchausen_target_is_the_formula():
    model: Any = DQN(small, gamma=0.9, reward_scale=0.5, munchausen=Munchausen(weight=0.7, temperature=0.2, floor=-0.4))
    model.build(ENV)
    with torch.no_grad():  # another target network than the network itself
        for parameter in model.agent.target_network.parameters():
            parameter.mul_(3.0)
    data = Transition(
        obs=torch.randint(2, (9, 3, 4, 4), generator=torch.Generator().manual_seed(0)).float(),
        actions=torch.arange(9) % 4,
        next_obs=torch.randint(2, (9, 3, 4, 4), generator=torch.Generator().manual_seed(1)).float(),
        terminated=torch.arange(9) == 4,
        truncated=torch.zeros(9, dtype=torch.bool),
        rewards=torch.linspace(-1, 1, 9),
        steps=torch.tensor([1, 2, 3] * 3),
    )
    with torch.no_grad():
        before, after = (model.agent.target_network(each).double() for each in (data.obs, data.next_obs))
        own = model.agent.network(data.obs).double()
    policy, next_policy = (torch.softmax(each / 0.2, 1) for each in (before, after))
    log_probability = (0.2 * policy.log())[torch.arange(9), data.actions].clamp(min=-0.4)
    value = (next_policy * (after - 0.2 * next_policy.log())).sum(1).masked_fill(data.terminated, 0.0)
    assert data.rewards is not None
    assert data.steps is not None
    target = 0.5 * data.rewards + 0.7 * log_probability + 0.9**data.steps * value
    error = (own[torch.arange(9), data.actions] - target).abs()
    loss = torch.where(error < 1, error**2 / 2, error - 0.5).mean()

    assert (log_probability == -0.4).any()
    assert (log_probability > -0.4).any()
    assert model.objective({"policy": data}).loss.item() == pytest.approx(loss.item(), rel=1e-5)


def test_double_q_learning_and_munchausen_exclude_each_other():
    with pytest.raises(UserError, match="set double_q to false, or munchausen to null"):
        DQN(small, double_q=True, munchausen=Munchausen())
    assert DQN(small).double_q
    assert not DQN(small, munchausen=Munchausen()).double_q


def test_the_schedule_sets_the_rate_of_each_update(tmp_path: Path):
    options: dict[str, Any] = {
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.5),
        "schedule": Steps(milestones=[10], rate=0.0),
    }
    models = [BehaviorCloning(small, **options) for _ in range(2)]
    for model, updates in zip(models, (10, 20), strict=True):
        train(model, imitation(tmp_path), updates=updates)
    assert torch.equal(*map(weights, models))


def test_gradients_are_clipped_to_the_norm(tmp_path: Path):
    start = BehaviorCloning(small)
    start.build(ENV)
    model = BehaviorCloning(small, optimizer=lambda p: torch.optim.SGD(p, lr=1.0), max_grad_norm=1e-3)
    train(model, imitation(tmp_path), updates=1)
    moved = weights(model) - weights(start)
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_another_algorithms_checkpoint_is_refused_in_a_sentence(tmp_path: Path):
    path = tmp_path / "iq.ckpt"
    train(IQLearn(small), imitation(tmp_path)).save_checkpoint(path)
    with pytest.raises(UserError, match="IQLearn"):
        quiet_trainer(max_steps=50).fit(BehaviorCloning(small), imitation(tmp_path), ckpt_path=path)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [({"gamma": 1.0}, "gamma"), ({"max_grad_norm": 0.0}, "max_grad_norm"), ({"log_every": 0}, "log_every")],
)
def test_values_out_of_range_are_named(options: dict[str, Any], culprit: str):
    with pytest.raises(UserError, match=culprit):
        IQLearn(small, **options)
