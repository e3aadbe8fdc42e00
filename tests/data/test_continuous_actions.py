"""Actions that are numbers, all the way from play to batches: Pendulum, whose torque is between -2 and 2."""

from typing import Any

import pytest
import torch
from explorer import equal, fit

from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import load_demonstrations, save_demonstrations
from iqlightning.data.experience import OnlineReplay
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.rollout import rollout

PENDULUM = GymnasiumConfig("Pendulum-v1")


class Damped:
    """Torque against the angular velocity; drawn, with noise."""

    def act(self, observations, *, sample=False):
        torque = -observations[:, 2:] / 4
        return (torque + 0.1 * torch.randn_like(torque) if sample else torque).clamp(-2, 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("pendulum") / "damped.safetensors"
    played = collect(Damped(), PENDULUM, 6, seed=0, num_envs=4, sample=True)
    assert played.actions.shape == (6 * 200, 1)
    save_demonstrations(path, played, {"env": PENDULUM.to_dict(), "seed": 0, "source": "damped"})
    return str(path)


def torques(served: Any, part: str) -> torch.Tensor:
    batches = [batch[part] for batch in served.values()]
    assert all(each.actions.shape == (len(each.obs), 1) for each in batches)
    assert all(each.actions.dtype == torch.float32 for each in batches)
    return torch.cat([each.actions for each in batches])


def test_whole_episodes_are_played_with_their_own_actions():
    played = rollout(Damped(), PENDULUM.make_batch(3, seed=0), 4)
    moves = played.transitions()
    torch.testing.assert_close(played.actions, Damped().act(moves.obs))
    assert played.truncated.all()


@pytest.mark.parametrize("out_of_core", [False, True])
def test_demonstrations_are_served_with_their_own_actions(path, out_of_core):
    data = ImitationData(path=path, batch_size=32, out_of_core=out_of_core)
    data.setup("fit")
    played, _ = load_demonstrations(path)
    rows = {bytes(row.numpy()) for row in torch.cat([played.transitions().obs, played.actions], 1)}
    for update in (0, 1, 200):
        expert: Any = data.batch(update).get("expert")
        assert expert.actions.dtype == torch.float32
        assert all(bytes(row.numpy()) in rows for row in torch.cat([expert.obs, expert.actions], 1))


@pytest.fixture
def torque_explorer(monkeypatch) -> None:
    """Explores by a rule that depends on what is seen."""

    def explore(self, observations, env_steps: int, envs):
        return Damped().act(observations) + 1e-3 * envs[:, None]

    monkeypatch.setattr("explorer.Explorer.explore", explore)


def test_replay_warms_up_over_the_whole_space_and_then_asks_the_learner(tmp_path, torque_explorer):
    data = ReplayData(PENDULUM, num_envs=4, batch_size=64, warmup_steps=2_000, steps_per_update=4.0)
    warm = torques(fit(data, tmp_path, steps=1).served, "policy")
    assert -2 <= float(warm.min()) < -1.8
    assert 1.8 < float(warm.max()) <= 2
    assert abs(float(warm.mean())) < 0.6
    played = data.experience.buffer
    assert len(played.actions[:2_000].unique()) == 2_000
    data = ReplayData(PENDULUM, num_envs=4, batch_size=16, warmup_steps=0, steps_per_update=4.0)
    served = fit(data, tmp_path, steps=20).served
    for batch in served.values():
        policy: Any = batch.get("policy")
        shift = policy.actions - Damped().act(policy.obs)
        assert (shift.abs() < 4e-3).all()


def test_a_resumed_run_is_served_the_same(path, tmp_path, torque_explorer):
    def data() -> ImitationData:
        online = OnlineReplay(num_envs=4, capacity=400, warmup_steps=40, steps_per_update=2.0)
        return ImitationData(path=path, batch_size=16, online=online, noise_std=0.01, updates_per_epoch=20)

    whole = fit(data(), tmp_path, steps=13, save=tmp_path / "cut.ckpt")
    again = fit(data(), tmp_path, steps=13)
    assert all(equal(whole.served[u], again.served[u]) for u in range(13))
    torch.load(tmp_path / "cut.ckpt", weights_only=True)
    resumed = fit(data(), tmp_path, steps=15, resume=tmp_path / "cut.ckpt")
    assert torques(resumed.served, "policy").abs().max() <= 2
    assert torques(resumed.served, "expert").abs().max() <= 2


def test_what_needs_numbered_actions_says_so(path):
    cart_pole = GymnasiumConfig("CartPole-v1")
    with pytest.raises(UserError, match="do not fit the environment 'CartPole-v1'"):
        ImitationData(cart_pole, path=path).setup("fit")
    data = ReplayData(cart_pole)
    with pytest.raises(UserError, match="'Pendulum-v1' has observations of another shape than 'CartPole-v1'"):
        data.change_training_env(PENDULUM)
