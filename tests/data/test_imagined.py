"""Imitation data whose policy plays a model of the dynamics: the environment is never made, let alone stepped."""

import pytest
import torch
from explorer import equal, fit

from iqlightning import GymnasiumConfig, UserError
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.data.experience import OnlineReplay
from iqlightning.data.imitation_data import ImitationData
from iqlightning.envs.dynamics.gaussian_process import GaussianProcess
from iqlightning.envs.dynamics.imagination import Imagination
from iqlightning.envs.gymnasium_batch import GymnasiumBatch
from iqlightning.types import Trajectories

ENV = GymnasiumConfig("CartPole-v1")
ONLINE = OnlineReplay(num_envs=4, capacity=400, warmup_steps=40, steps_per_update=2.0)


@pytest.fixture
def path(tmp_path) -> str:
    """Three episodes of random numbers, 20 moves each."""
    drawn = torch.Generator().manual_seed(0)
    starts = torch.tensor([0, 20, 40, 60])
    trajectories = Trajectories(
        observations=torch.randn(63, 4, generator=drawn),
        actions=torch.randint(2, (60,), generator=drawn),
        rewards=torch.ones(60),
        starts=starts,
        terminated=torch.zeros(3, dtype=torch.bool),
        truncated=torch.ones(3, dtype=torch.bool),
    )
    file = tmp_path / "cartpole.safetensors"
    save_demonstrations(file, trajectories, {"env": ENV.to_dict()})
    return str(file)


def data(path: str, **options) -> ImitationData:
    imagined = Imagination(GaussianProcess(steps=5))
    given = {"path": path, "batch_size": 8, "validation_fraction": 0.0, "online": ONLINE, "imagined": imagined}
    return ImitationData(ENV, **(given | options))


@pytest.mark.filterwarnings("ignore:the model of the dynamics predicts")
@pytest.mark.parametrize("symmetries", [False, True])
def test_the_policy_plays_the_model_and_not_the_environment(path, tmp_path, monkeypatch, symmetries):
    def made(*arguments, **named):
        raise AssertionError("the environment was made")

    monkeypatch.setattr(GymnasiumBatch, "__init__", made)
    served = data(path, symmetries=symmetries)
    policy = [batch.get("policy") for batch in fit(served, tmp_path, steps=30).served.values()]
    known = served.training.transitions(torch.arange(60))
    assert len(policy) == 30
    assert served.imagined is not None
    for batch in policy:
        assert batch is not None
        assert batch.obs.shape == (8, 4)
        assert batch.rewards is None
        assert not batch.terminated.any()
        going = ~batch.truncated
        if not symmetries:  # what follows is what the model says
            follows = served.imagined.model(batch.obs, batch.actions)
            torch.testing.assert_close(follows[going], batch.next_obs[going], atol=1e-4, rtol=1e-4)
    starts = torch.cat([batch.obs for batch in policy if batch is not None])
    known_start = (starts[:, None] == torch.cat([known.obs, -known.obs])).all(2).any(1)
    assert 0 < known_start.sum() < len(known_start)


@pytest.mark.filterwarnings("ignore:the model of the dynamics predicts")
def test_a_resumed_run_imagines_what_the_run_left_alone_does(path, tmp_path):
    whole = fit(data(path), tmp_path, steps=20).served
    fit(data(path), tmp_path, steps=9, save=tmp_path / "half.ckpt")
    rest = fit(data(path), tmp_path, steps=20, resume=tmp_path / "half.ckpt").served
    assert sorted(rest) == list(range(9, 20))
    assert all(equal(batch, whole[update]) for update, batch in rest.items())


def test_imagined_without_online_is_refused(path):
    with pytest.raises(UserError, match=r"say with data\.online how much"):
        data(path, online=None)
