import io
import json
from typing import Any

import pytest
import torch
from continuous_checkpoints import PENDULUM, actor
from safetensors.torch import load

from iqlightning import portable as portable_module
from iqlightning.agents import agent_from_recipe
from iqlightning.agents.soft_q import SoftQ
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.encoders import (
    CellAttention,
    GridCNN,
    HierarchicalPlanner,
    LogPlanner,
    RecurrentPlanner,
    ValueIterationNetwork,
)
from iqlightning.gridworld.encoders import portable as portable_encoders
from iqlightning.gridworld.encoders.grid_cnn_portable import portable_features
from iqlightning.gridworld.encoders.log_planner import _portable_path_costs, path_costs
from iqlightning.gridworld.encoders.portable import player_cell
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.losses.values import MaxValue, SoftValue
from iqlightning.nets.encoders import MLP
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import AgentPolicy
from iqlightning.portable import compare, probe_observations, reloaded, require_onnx, trace, weights_file

GRID = GridWorldConfig(height=6, width=5, num_walls=4)


def policy_of(env, encoder, value=None):
    torch.manual_seed(0)
    agent = SoftQ(env.spaces, encoder, value=value or SoftValue(0.1)).eval().requires_grad_(False)
    return AgentPolicy(agent, 0.9, env)


def an_actor() -> AgentPolicy:
    return AgentPolicy(actor(), 0.9, PENDULUM)


@pytest.mark.parametrize("iterations", [None, 3])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_portable_grid_cnn_is_the_same_function(iterations, noise):
    encoder = GridCNN(GRID.observation_shape, iterations=iterations)
    observations = probe_observations(GRID, 50).float()
    observations += noise * torch.randn(observations.shape)
    ours = portable_features(observations, encoder.stem, encoder.weight, encoder.readout, iterations)
    torch.testing.assert_close(ours, encoder(observations), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [SoftValue(0.1), MaxValue()])
def test_a_grid_cnn_plays_every_size_from_its_file(value):
    policy = policy_of(GRID, GridCNN, value)
    traced = trace(policy)
    assert traced.shape == ("batch", 3, "height", "width")
    read = reloaded(traced, traced.torch_bytes())
    agreement = compare(policy, read, 100)
    assert agreement.holds
    assert agreement.observations == 250
    observations = probe_observations(GridWorldConfig(height=9, width=3, num_walls=2), 7)
    q, v, actions = read.program.module()(observations)
    torch.testing.assert_close(q, policy.q_values(observations))
    torch.testing.assert_close(v, policy.values(observations))
    assert torch.equal(actions, policy.act(observations))


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoder", [LogPlanner, CellAttention, HierarchicalPlanner, RecurrentPlanner, ValueIterationNetwork]
)
def test_planners_are_the_same_function_from_both_files(onnx, encoder):
    policy = policy_of(GRID, encoder)
    traced = trace(policy)
    assert traced.dynamic == ("batch", "height", "width")
    # with blocks of 2 x 2 cells, a grid of 2 x 2 is a single one
    assert traced.sides == ((3, 64) if encoder is HierarchicalPlanner else (2, 64))
    assert compare(policy, reloaded(traced, traced.torch_bytes()), 100).holds
    assert compare(policy, traced, 100, onnx=traced.onnx_bytes()).holds


@pytest.mark.parametrize("longest", [None, 5])
def test_the_portable_path_costs_are_the_same(longest, monkeypatch):
    def loop(goes_on, step, state):  # the operation itself would be compiled first
        while goes_on(*state):
            state = step(*state)
        return state

    monkeypatch.setattr(portable_encoders, "while_loop", loop)
    walls, _, goal = draw_layouts(GridWorldConfig(height=7, width=6, num_walls=16), torch.arange(20), torch.arange(20))
    source = (torch.arange(42) == goal[:, None]).view(walls.shape)
    cost = torch.rand(20, 3, 7, 6).masked_fill(walls[:, None], 1e4)
    ours, theirs = (costs(cost, source, longest) for costs in (_portable_path_costs, path_costs))
    torch.testing.assert_close(ours, theirs)


def test_the_player_is_found_without_a_division(monkeypatch):
    planes = torch.zeros(12, 3, 4)
    planes.flatten(1)[torch.arange(12), torch.arange(12)] = 1.0
    planes += 0.2 * torch.rand(12, 3, 4)
    rows, columns = player_cell(planes)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    other_rows, other_columns = player_cell(planes)
    assert torch.equal(rows * 4 + columns, torch.arange(12))
    assert torch.equal(rows, other_rows)
    assert torch.equal(columns, other_columns)


def test_an_mlp_keeps_its_size_and_any_batch():
    policy = policy_of(GRID, MLP)
    traced = trace(policy)
    assert traced.shape == ("batch", 3, 6, 5)
    assert compare(policy, reloaded(traced, traced.torch_bytes()), 100).holds


def test_other_environments_are_exported_with_their_observations():
    env = GymnasiumConfig("CartPole-v1")
    policy = policy_of(env, MLP)
    traced = trace(policy)
    assert traced.shape == ("batch", 4)
    assert traced.dtype == torch.float32
    assert probe_observations(env, 40).shape == (40, 4)
    assert compare(policy, traced, 40).holds


def test_an_actor_is_exported_with_its_scale_and_its_bounds():
    policy = an_actor()
    traced = trace(policy)
    assert (traced.outputs, traced.shape) == (("actions", "q"), ("batch", 3))
    read = reloaded(traced, traced.torch_bytes())
    agreement = compare(policy, read, 100)
    assert agreement.holds
    observations = 100 * torch.randn(7, 3)
    actions, q = read.program.module()(observations)
    torch.testing.assert_close(actions, policy.act(observations))
    torch.testing.assert_close(q, policy.q(observations, actions))
    assert all(PENDULUM.spaces.action.contains(action.numpy()) for action in actions)


def test_another_actor_is_noticed():
    traced = trace(an_actor())
    other = actor()
    for weight in other.averaged["actor"].parameters():
        weight.mul_(1.1)
    agreement = compare(AgentPolicy(other, 0.9, PENDULUM), traced, 100)
    assert not agreement.holds
    assert agreement.same_actions < 1


GRIDS = {"observations": ["batch", 3, "height", "width"], "q_values": ["batch", 4]}


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (lambda: policy_of(GRID, GridCNN), GRIDS | {"values": ["batch"], "actions": ["batch"]}),
        (an_actor, {"observations": ["batch", 3], "actions": ["batch", 1], "q": ["batch"]}),
    ],
)
def test_onnx_is_the_same_function_at_every_size(onnx, build, shapes):
    policy = build()
    traced = trace(policy)
    content = traced.onnx_bytes()
    assert compare(policy, traced, 100, onnx=content).holds
    graph = onnx.load(io.BytesIO(content)).graph
    assert shapes == {
        each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*graph.input, *graph.output)
    }


def test_the_weights_rebuild_an_actor():
    policy = an_actor()
    content = weights_file(policy)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"]
    agent = agent_from_recipe(json.loads(header["agent"]))
    agent.load_weights(load(content))
    observations = torch.randn(10, 3)
    assert torch.equal(agent.act(observations), policy.act(observations))


def test_another_policy_is_noticed():
    traced = trace(policy_of(GRID, MLP))
    other: Any = policy_of(GRID, MLP)
    weight = next(other.agent.network.head.parameters())
    weight.mul_(1.1)
    agreement = compare(other, traced, 100)
    assert not agreement.holds
    assert agreement.difference > 1e-3


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(portable_module, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"onnxscript, which is not installed: pip install 'iqlightning\[export\]'"):
        require_onnx()


def test_the_weights_rebuild_the_network():
    policy = policy_of(GRID, GridCNN)
    content = weights_file(policy)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"]
    network = QNetwork.from_recipe(json.loads(header["network"]))
    network.load_state_dict(load(content))
    observations = probe_observations(GRID, 10)
    assert torch.equal(network(observations), policy.q_values(observations))
    assert json.loads(header["gamma"]) == 0.9
    assert json.loads(header["env"])["height"] == 6
