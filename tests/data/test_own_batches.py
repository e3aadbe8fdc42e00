import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from small_runs import quiet_trainer
from torch.utils.data import DataLoader, Dataset, TensorDataset

import iqlightning as iq
from iqlightning.data.own_batches import batch_of, observations_of
from iqlightning.errors import UserError

COUNT = 32
SPACES = iq.Spaces(gymnasium.spaces.Box(-9, 9, (4,)), gymnasium.spaces.Discrete(2))
ACTED = iq.Spaces(gymnasium.spaces.Box(-9, 9, (4,)), gymnasium.spaces.Box(-1, 1, (2,)))
BYTES = iq.Spaces(gymnasium.spaces.Box(0, 255, (3, 2, 2), np.uint8), gymnasium.spaces.Discrete(2))


def transitions(**changes: Any) -> dict[str, Any]:
    draws = torch.Generator().manual_seed(0)
    made = {
        "obs": torch.randn(COUNT, 4, dtype=torch.float64, generator=draws),
        "actions": torch.randint(0, 2, (COUNT,), dtype=torch.int32, generator=draws),
        "next_obs": torch.randn(COUNT, 4, generator=draws),
        "terminated": torch.arange(COUNT) % 7 == 0,
    }
    return {name: each for name, each in (made | changes).items() if each is not None}


class Rows(Dataset):
    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {
            name: {inner: each[row] for inner, each in part.items()} if isinstance(part, dict) else part[row]
            for name, part in self.arrays.items()
        }


def expert_of(given: Any, spaces: iq.Spaces) -> iq.Transition:
    held = batch_of(given, spaces, part="expert").get("expert")
    assert held is not None
    return held


class Batches:
    """A loader of anything: Lightning takes a list for one of loaders."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        return iter(self.batches)


def trained(model: Any, loader: Any, **options: Any) -> Any:
    model.build(None, SPACES)
    trainer = quiet_trainer(**({"max_epochs": 2} | options))
    trainer.fit(model, train_dataloaders=loader)
    return trainer


@dataclasses.dataclass
class Row:
    observations: Any
    actions: Any
    next_observations: Any
    terminated: Any
    truncated: Any = None


def test_what_is_given_comes_in_the_types_that_algorithms_read():
    expert = expert_of(transitions(terminated=(torch.arange(COUNT) % 7 == 0).float()), SPACES)
    assert [each.dtype for each in expert[:5]] == [torch.float32, torch.int64, torch.float32, torch.bool, torch.bool]
    assert torch.equal(expert.terminated, torch.arange(COUNT) % 7 == 0)
    assert not expert.truncated.any()
    torch.testing.assert_close(expert.obs.double(), transitions()["obs"], rtol=1e-6, atol=1e-6)


def test_mappings_dataclasses_named_tuples_and_lists_are_the_same_batch():
    held = transitions()
    expected = expert_of(held, SPACES)
    arrays = {name: each.numpy() for name, each in held.items()}
    others = [
        arrays,
        {"observations": held["obs"], "next_observations": held["next_obs"]}
        | {name: held[name] for name in ("actions", "terminated")},
        Row(*held.values()),
        iq.Transition(*held.values(), truncated=torch.zeros(COUNT, dtype=torch.bool)),
        list(held.values()),
        {"expert": held},
    ]
    for other in others:
        made = expert_of(other, SPACES)
        assert all(torch.equal(one, two) for one, two in zip(made[:5], expected[:5], strict=True))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"obs": torch.zeros(COUNT, 3)}, r"obs of a batch must have the shape \(B, 4\), not \(32, 3\)"),
        ({"obs": torch.full((COUNT, 4), float("nan"))}, "obs of a batch hold a number that is not finite"),
        ({"next_obs": None, "terminated": None}, "a batch lacks next_obs and terminated"),
        ({"actions": torch.full((COUNT,), 2)}, "actions of a batch must lie from 0 to 1, and one is 2"),
        ({"actions": torch.zeros(COUNT)}, "whole numbers from 0 to 1, not torch.float32"),
        ({"actions": torch.zeros(COUNT, 1, dtype=torch.int64)}, r"actions of a batch must have the shape \(B,\)"),
        ({"terminated": torch.full((COUNT,), 2)}, "terminated of a batch must be true or false"),
        ({"terminated": torch.zeros(COUNT - 1)}, "has 32 obs and 31 terminated"),
        ({"terminated": torch.zeros(COUNT, 1)}, r"terminated of a batch must have the shape \(B,\)"),
        ({"obss": torch.zeros(COUNT, 4)}, "called 'obss'; did you mean 'obs'"),
        ({"observations": torch.zeros(COUNT, 4)}, "'observations' under two names"),
        ({"obs": "words"}, "obs of a batch must be an array of numbers, not str"),
        ({"rewards": torch.full((COUNT,), float("inf"))}, "rewards of a batch hold a number that is not finite"),
    ],
)
def test_what_does_not_fit_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        batch_of(transitions(**changes), SPACES, part="expert")


def test_what_is_no_batch_is_named():
    with pytest.raises(UserError, match="must be a dictionary or a dataclass of transitions"):
        batch_of(torch.zeros(3, 4), SPACES, part="expert")
    with pytest.raises(UserError, match="called 'learner'"):
        batch_of({"expert": transitions(), "learner": transitions()}, SPACES, part="expert")


def test_continuous_actions_must_lie_in_their_space():
    good = torch.linspace(-1, 1, 2 * COUNT).view(COUNT, 2)
    assert expert_of(transitions(actions=good), ACTED).actions.dtype == torch.float32
    with pytest.raises(UserError, match="must lie within Box"):
        batch_of(transitions(actions=2 * good), ACTED, part="expert")


def test_pictures_must_be_the_bytes_that_a_network_divides():
    pictures = torch.zeros(COUNT, 3, 2, 2, dtype=torch.uint8)
    held = transitions(obs=pictures, next_obs=pictures)
    assert expert_of(held, BYTES).obs.dtype == torch.uint8
    with pytest.raises(UserError, match="must be bytes"):
        batch_of(held | {"obs": pictures.float()}, BYTES, part="expert")


def test_each_batch_of_a_loader_is_one_update_and_trains():
    model = iq.IQLearn(iq.MLP(hidden=[8]), seed=1)
    before = iq.IQLearn(iq.MLP(hidden=[8]), seed=1)
    before.build(None, SPACES)
    trainer = trained(model, DataLoader(Rows(transitions()), batch_size=8))
    assert trainer.global_step == 8
    assert not torch.equal(model(torch.ones(1, 4))["q_values"], before(torch.ones(1, 4))["q_values"])
    assert trained(iq.IQLearn("MLP"), DataLoader(Rows(transitions()), batch_size=8), max_steps=3).global_step == 3


def test_the_same_batches_train_as_they_would_by_hand():
    model = iq.IQLearn(iq.MLP(hidden=[8]), optimizer=lambda weights: torch.optim.SGD(weights, 0.1))
    trained(model, Batches(transitions()), max_steps=1)
    other = iq.IQLearn(iq.MLP(hidden=[8]))
    other.build(None, SPACES)
    other.objective(batch_of(transitions(), SPACES, part="expert")).loss.backward()
    with torch.no_grad():
        for weight in other.agent.network.parameters():
            weight -= 0.1 * weight.grad
    torch.testing.assert_close(dict(model.agent.network.state_dict()), dict(other.agent.network.state_dict()))


def test_cloning_reads_observations_and_actions_alone():
    held = transitions()
    pairs = DataLoader(TensorDataset(held["obs"], held["actions"]), batch_size=8)
    model = iq.BehaviorCloning("MLP")
    assert trained(model, pairs).global_step == 8
    with pytest.raises(UserError, match="lacks next_obs and terminated"):
        trained(iq.IQLearn("MLP"), pairs)


def test_algorithms_of_rewards_and_of_two_parts_are_served():
    rewards = torch.ones(COUNT, dtype=torch.float64)
    assert trained(iq.DQN("MLP"), DataLoader(Rows(transitions(rewards=rewards)), batch_size=8)).global_step == 8
    both = {"expert": transitions(), "policy": transitions(), "initial": transitions()["obs"]}
    assert trained(iq.LSIQ("MLP"), DataLoader(Rows(both), batch_size=8)).global_step == 8
    assert trained(iq.IQLearn("MLP", value_term="InitialStates"), Batches(both)).global_step == 2
    with pytest.raises(UserError, match=r"needs policy data.*'expert': \.\.\., 'policy'"):
        trained(iq.LSIQ("MLP"), Batches(transitions()))


def test_loaders_of_ones_own_validate_and_predict():
    model = iq.IQLearn(iq.MLP(hidden=[8]))
    model.build(None, SPACES)
    trainer = quiet_trainer(max_epochs=1)
    loader = DataLoader(Rows(transitions()), batch_size=8)
    trainer.fit(model, loader, loader)
    agreement = (model.policy.act(transitions()["obs"].float()) == transitions()["actions"]).float().mean()
    assert trainer.callback_metrics["val/expert_agreement"].item() == pytest.approx(agreement.item())
    for data in (transitions()["obs"], TensorDataset(transitions()["obs"]), Rows(transitions())):
        predicted: Any = quiet_trainer().predict(model, DataLoader(data, batch_size=20))
        assert [len(each["actions"]) for each in predicted] == [20, 12]


def test_observations_are_found_wherever_they_are():
    obs = transitions()["obs"].float()
    for given in (obs, obs.numpy(), [obs], {"observations": obs}, {"expert": transitions()}):
        assert torch.equal(observations_of(given, SPACES), obs)
    with pytest.raises(UserError, match="needs obs, and has actions"):
        observations_of({"actions": obs}, SPACES)


def test_a_model_that_was_not_built_says_what_is_missing():
    with pytest.raises(UserError, match=r"IQLearn does not know .* model\.build\('CartPole-v1'\)"):
        quiet_trainer(max_epochs=1).fit(iq.IQLearn("MLP"), train_dataloaders=Batches(transitions()))
