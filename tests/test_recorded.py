import inspect
import os
from functools import partial

import numpy as np
import pytest
import torch

import iqlightning as iq
from iqlightning.errors import UserError
from iqlightning.nets.encoders import MLP, Encoder
from iqlightning.recorded import from_plain, is_complete, plain

MLP_PATH = "iqlightning.nets.encoders.mlp.MLP"


class SquaredLinear(Encoder):
    def __init__(self, observation_shape: tuple[int, ...], width: int = 3) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(observation_shape[0], width)
        self.feature_shape = (width,)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.linear(observations).square()


@pytest.mark.parametrize(
    "encoder",
    [
        "MLP",
        MLP_PATH,
        MLP,
        MLP(),
        partial(MLP, hidden=(150, 100)),
        lambda shape: MLP(shape),
        {"class_path": "MLP"},
        {"class_path": MLP_PATH, "init_args": {"hidden": [150, 100]}},
    ],
)
def test_an_encoder_in_any_of_the_ways_makes_the_same_network(encoder):
    model = iq.IQLearn(encoder=encoder)
    model.build("CartPole-v1")
    expected = iq.IQLearn(encoder=lambda shape: MLP(shape, (150, 100)))
    expected.build("CartPole-v1")
    obs = torch.ones(2, 4)
    assert torch.equal(model(obs)["q_values"], expected(obs)["q_values"])


def test_a_class_of_ones_own_is_found_by_its_name_and_the_newest_first():
    model = iq.IQLearn(encoder="SquaredLinear")
    model.build("CartPole-v1")
    assert type(model.agent.encoder) is SquaredLinear
    redefined = type("SquaredLinear", (SquaredLinear,), {"__module__": __name__})
    assert iq.IQLearn(encoder="SquaredLinear").hparams.encoder["class_path"] == f"{__name__}.SquaredLinear"
    again = iq.IQLearn(encoder="SquaredLinear")
    again.build("CartPole-v1")
    assert type(again.agent.encoder) in (redefined, SquaredLinear)


@pytest.mark.parametrize("divergence", ["Hellinger", iq.Hellinger, iq.Hellinger(), partial(iq.Hellinger, 10.0)])
def test_objects_are_given_as_such_as_classes_as_factories_and_by_name(divergence):
    model = iq.IQLearn("MLP", divergence=divergence, value_term="InitialStates", schedule="Cosine", optimizer="AdamW")
    assert type(model.inverse_soft_q.divergence) is iq.Hellinger
    assert model.inverse_soft_q.divergence.max_weight == 10.0
    assert model.needs == {"expert", "initial"}
    assert model.optimizer_factory is torch.optim.AdamW
    assert type(model.schedule) is iq.Cosine


def test_settings_inside_settings_take_the_same_ways():
    assert iq.Penalized("Chi2").divergence.alpha == 0.5
    model = iq.BehaviorCloning(agent=iq.SoftActorCritic(hidden=[8], target=None, actor_optimizer="SGD"))
    model.build("Pendulum-v1")
    assert model.agent.actor_optimizer is torch.optim.SGD


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: iq.IQLearn(encoder="MPL"), "there is no encoder 'MPL'; did you mean 'MLP'"),
        (lambda: iq.IQLearn(encoder=MLP((4,))), "encoder is a MLP that is built already"),
        (lambda: iq.IQLearn(encoder=7), "encoder must be of the kind Encoder, and 7 is not"),
        (lambda: iq.IQLearn("MLP", gama=0.9), "IQLearn has no argument 'gama'; did you mean 'gamma'"),
        (
            lambda: iq.IQLearn("MLP", divergence=MLP),
            "divergence must be of the kind Divergence, and MLP is not",
        ),
        (lambda: iq.IQLearn("MLP", divergence="Chi3"), "there is no divergence 'Chi3'; did you mean 'Chi2'"),
        (lambda: iq.IQLearn("MLP", optimizer="Adamm"), "there is no optimizer 'Adamm'; did you mean 'Adam'"),
        (lambda: iq.DQN("MLP", agent="SoftQ"), "DQN has no argument 'agent'"),
        (lambda: MLP((4,), hiden=[3]), "MLP has no argument 'hiden'; did you mean 'hidden'"),
        (lambda: iq.IQLearn(encoder="os.system"), "'os.system' is not a known Encoder"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence(make, sentence):
    with pytest.raises(UserError) as raised:
        make()
    assert sentence in str(raised.value)


def test_signatures_have_every_argument_written_out():
    names = list(inspect.signature(iq.DQN).parameters)
    assert names[:2] == ["encoder", "double_q"]
    assert {"gamma", "optimizer", "compile", "max_grad_norm"} <= set(names)
    assert not {"settings", "agent", "value", "copies"} & set(names)


@pytest.mark.parametrize(
    "made", [iq.Penalized(iq.Chi2(0.3), weight=2.0), iq.Steps(milestones=[3, 4]), iq.TargetUpdate(5, 0.5)]
)
def test_plain_data_build_the_same_again(made):
    stored = plain(made)
    assert is_complete(stored)
    assert plain(from_plain(stored)) == stored


def test_numbers_of_numpy_become_plain_ones():
    stored = plain({"a": np.float64(0.5), "b": np.int64(3), "c": np.array([1, 2]), "d": (np.True_,)})
    assert stored == {"a": 0.5, "b": 3, "c": [1, 2], "d": [True]}
    assert [type(stored[name]) for name in "ab"] == [float, int]


def test_of_a_function_only_the_name_is_known():
    assert not is_complete(plain({"optimizer": lambda weights: torch.optim.SGD(weights)}))


@pytest.mark.parametrize("path", ["os.mkdir", "subprocess.Popen", "builtins.eval", "torch.load", "pathlib.Path"])
def test_plain_data_call_nothing_but_recorded_classes_and_optimizers(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        from_plain({"class_path": path, "init_args": {"path": "made"}})
    assert os.listdir(tmp_path) == []
