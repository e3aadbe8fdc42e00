import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.agents.agent import agent_from_recipe
from iqlightning.agents.observation_scale import Standardised, observation_scale, scale_warning
from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.losses.values import SoftValue
from iqlightning.nets.encoders.local_cnn import LocalCNN
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.spaces import Spaces
from iqlightning.types import Transition

MOVES = spaces.Discrete(3)
SYMBOLS = spaces.Box(0, np.broadcast_to(np.array([[[3]], [[1]]]), (2, 4, 4)).astype(np.uint8), (2, 4, 4), np.uint8)


def of(space):
    return Spaces.of(space, MOVES)


def mlp(shape):
    return MLP(shape, hidden=(8,))


@pytest.mark.parametrize(
    ("space", "scale", "name", "divisor"),
    [
        (spaces.Box(0, 255, (3, 8, 8), np.uint8), "auto", "bytes", 255.0),
        (spaces.Box(0, 255, (3, 8, 8), np.uint8), "space", "space", 255.0),
        (spaces.Box(0, 255, (3, 8, 8), np.uint8), "none", "none", 1.0),
        (spaces.Box(0, 1, (3, 8, 8), np.uint8), "auto", "none", 1.0),
        (spaces.Box(0, 1, (3, 8, 8), np.uint8), "one-hot", "none", 1.0),
        (spaces.Box(-9, 9, (4,)), "auto", "none", 1.0),
        (spaces.Box(-9, 9, (4,)), "standardise", "standardise", 1.0),
        (SYMBOLS, "auto", "one-hot", 1.0),
        (spaces.Discrete(500), "auto", "none", 1.0),
    ],
)
def test_what_a_setting_means(space, scale, name, divisor):
    found = observation_scale(of(space), scale)
    assert (found.name, found.divisor) == (name, divisor)


def test_bounds_become_0_and_1_and_what_has_none_stays():
    space = spaces.Box(np.array([-2, 0, -np.inf], np.float32), np.array([2, 10, 1], np.float32))
    module = observation_scale(of(space), "space").module
    assert module is not None
    assert module(torch.tensor([[-2.0, 5.0, 7.0], [2.0, 10.0, -7.0]])).tolist() == [[0, 0.5, 7], [1, 1, -7]]


def test_symbols_are_one_hot_by_channel_and_noise_is_seen_in_part():
    found = observation_scale(of(SYMBOLS))
    assert found.shape == (4 + 2, 4, 4)
    assert found.module is not None
    cells = torch.zeros(1, 2, 4, 4)
    cells[0, 0, 1, 2], cells[0, 1, 1, 2] = 3, 1
    seen = found.module(cells)
    assert seen[0, :, 1, 2].tolist() == [0, 0, 0, 1, 0, 1]
    assert seen[0, :, 0, 0].tolist() == [1, 0, 0, 0, 1, 0]
    cells[0, 0, 1, 2] = 2.25
    assert found.module(cells)[0, :4, 1, 2].tolist() == [0, 0, 0.75, 0.25]


def test_bytes_beside_other_numbers_are_divided_alone():
    space = spaces.Dict(image=spaces.Box(0, 255, (2, 2, 1), np.uint8), way=spaces.Discrete(2))
    found = observation_scale(of(space))
    assert found.module is not None
    assert found.module(torch.tensor([[255, 51, 0, 0, 0, 1]])).tolist() == [[1, pytest.approx(0.2), 0, 0, 0, 1]]


def test_pictures_of_symbols_beside_other_numbers_stay_pictures_once_one_hot():
    symbols = spaces.Box(0, np.broadcast_to(np.array([2, 1], np.uint8), (2, 2, 2)), (2, 2, 2), np.uint8)
    of_both = of(spaces.Dict(image=symbols, way=spaces.Discrete(2)))
    found = observation_scale(of_both)
    assert (found.name, found.shape, found.pictures) == ("one-hot", (5 * 4 + 2,), ((0, 5, 2, 2),))
    assert found.module is not None
    seen = found.module(torch.tensor([[2, 0, 1, 0, 0, 1, 0, 0, 0, 1]]))
    assert seen[0, :20].view(5, 2, 2).tolist() == [
        *([[0, 1], [0, 1]], [[0, 0], [1, 0]], [[1, 0], [0, 0]]),
        *([[1, 0], [1, 1]], [[0, 1], [0, 0]]),
    ]
    assert seen[0, 20:].tolist() == [0, 1]
    assert SoftQ(of_both, mlp).q_values(torch.zeros(3, 10, dtype=torch.uint8)).shape == (3, 3)


def test_pictures_are_standardised_by_pixel_so_that_what_moves_is_what_is_seen():
    found = observation_scale(of(spaces.Box(0, 255, (2, 4, 4), np.uint8)), "standardise")
    pictures = torch.full((50, 2, 4, 4), 87, dtype=torch.uint8)
    pictures[:, 0] = torch.randint(0, 200, (50, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pictures[7, 1, 2, 3] = 236  # of a pixel that is lit once, all of 149 is 7 deviations, and 5 are seen
    pictures[::2, 1, 0, 0] = 88  # noise: its deviation of 1/2 counts as a tenth of the typical one
    module: torch.nn.Module | None = found.module
    assert module is not None
    module.fit(pictures)  # type: ignore[operator]
    seen = module(pictures)
    assert torch.allclose(seen[:, 0].mean(0), torch.zeros(4, 4), atol=1e-5)
    assert torch.allclose(seen[:, 0].std(0, correction=0), torch.ones(4, 4), atol=1e-3)
    assert seen[7, 1, 2, 3] == 5
    deviations = pictures.double().std(0, correction=0)
    typical = float(deviations.square().mean().sqrt())
    assert seen[::2, 1, 0, 0].tolist() == pytest.approx([0.5 / (typical / 10)] * 25, rel=1e-4)
    assert not seen[:, 1, 1].any()


def test_a_mean_of_each_channel_as_earlier_versions_had_it_is_read():
    ours, theirs = Standardised((2, 4, 4)), Standardised((2, 1, 1))
    theirs.mean.copy_(torch.tensor([1.0, 2.0]).view(2, 1, 1))
    theirs.std.fill_(2.0)
    theirs.limit.fill_(5.0)
    ours.load_state_dict(theirs.state_dict())
    pictures = torch.rand(3, 2, 4, 4)
    assert torch.equal(ours(pictures), theirs(pictures))


@pytest.mark.parametrize(
    ("space", "scale", "words"),
    [
        (spaces.Box(-1, 1, (4,)), "one-hot", ["whole numbers", "float32"]),
        (spaces.Box(0, 999, (4,), np.int64), "one-hot", ["1,000", "Bounds"]),
        (spaces.Box(-1, 1, (4,)), "onehot", ["did you mean 'one-hot'"]),
    ],
)
def test_what_cannot_be_is_refused(space, scale, words):
    with pytest.raises(UserError) as error:
        observation_scale(of(space), scale)
    assert all(word in str(error.value) for word in words)


def test_slivers_and_large_numbers_are_warned_of_and_nothing_else():
    pictures = spaces.Box(0, 255, (3, 7, 7), np.uint8)
    draw = torch.Generator().manual_seed(0)
    symbols = torch.randint(0, 11, (64, 3, 7, 7), generator=draw).to(torch.uint8)
    warning = scale_warning(observation_scale(of(pictures)), symbols)
    assert all(words in str(warning) for words in ("0 to 10", "divided by 255", "one-hot"))
    assert scale_warning(observation_scale(of(pictures), "one-hot"), symbols) is None
    assert scale_warning(observation_scale(of(pictures)), symbols * 20) is None
    numbers = observation_scale(of(spaces.Box(-np.inf, np.inf, (2,))))
    assert scale_warning(numbers, torch.tensor([[0.0, 1000.0]])) is not None
    assert scale_warning(numbers, torch.tensor([[0.0, 10.0]])) is None


@pytest.mark.parametrize("scale", ["auto", "one-hot", "standardise", "space", "none"])
def test_the_scale_is_part_of_what_a_checkpoint_holds(scale):
    ours = SoftQ(of(SYMBOLS), lambda shape: LocalCNN(shape, channels=4, hidden=5), scale=scale)
    cells = torch.randint(0, 2, (6, 2, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    if ours.wants_observations:
        ours.fit_observations(cells)
    again = agent_from_recipe(ours.recipe)
    again.load_weights(ours.state_dict())
    assert isinstance(again, SoftQ)
    assert torch.equal(again.q_values(cells), ours.q_values(cells))
    assert again.architecture == ours.architecture
    assert again.sees.words == ours.sees.words
    assert not again.wants_observations


def test_actions_that_are_not_allowed_have_no_part_in_value_policy_and_draws():
    space = spaces.Dict(observation=spaces.Box(-1, 1, (2,)), action_mask=spaces.MultiBinary(3))
    agent = SoftQ(of(space), mlp, value=SoftValue(0.5))
    obs = torch.tensor([[0, 1, 1, 0.3, -0.2], [1, 0, 0, 0.1, 0.9], [0, 0, 0, 0.5, 0.5]])
    bare = agent.network(obs)
    v = agent.v(obs)
    assert torch.isclose(v[0], 0.5 * torch.logsumexp(bare[0, 1:] / 0.5, 0))
    assert torch.isclose(v[1], bare[1, 0])
    assert torch.isclose(v[2], 0.5 * torch.logsumexp(bare[2] / 0.5, 0))  # nothing is allowed: an episode has ended
    drawn = agent.act(obs[:2].repeat(200, 1), sample=True).view(200, 2)
    assert [set(column.tolist()) for column in drawn.T] == [{1, 2}, {0}]
    assert agent.entropy(obs).isfinite().all()
    part = Transition(obs[:2], torch.tensor([1, 0]), obs[1:], torch.tensor([False, True]), torch.zeros(2).bool())
    terms = agent.bellman([part]).parts[0]
    terms.rewards(0.9).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in agent.network.parameters())


def test_pictures_beside_other_numbers_are_read_by_the_encoder_and_the_rest_is_joined():
    space = spaces.Dict(
        image=spaces.Box(0, 255, (5, 5, 3), np.uint8), v=spaces.Box(-1, 1, (2,)), way=spaces.Discrete(4)
    )
    agent = SoftQ(of(space), lambda shape: LocalCNN(shape, channels=4, hidden=6), copies=2)
    assert [type(each).__name__ for each in agent.encoder.encoders] == ["LocalCNN"]  # type: ignore[attr-defined]
    obs = torch.rand(3, 81, generator=torch.Generator().manual_seed(0))
    before = agent.q_values(obs)
    for start, stop in ((0, 75), (75, 77), (77, 81)):
        other = obs.clone()
        other[:, start:stop] = (1 - obs[:, start:stop]) * (200 if start == 0 else 1)
        assert not torch.allclose(agent.q_values(other), before)
    again = agent_from_recipe(agent.recipe)
    again.load_weights(agent.state_dict())
    assert isinstance(again, SoftQ)
    assert torch.equal(again.q_values(obs), before)


def test_a_scale_learnt_from_demonstrations_needs_some():
    agent = SoftQ(of(spaces.Box(-1, 1, (2,))), mlp, scale="standardise")
    with pytest.raises(UserError, match=r"model\.scale standardise .* none"):
        agent.fit_observations(None)
