import dataclasses
import sys

import pytest
import torch

from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.types import Trajectories

SMALL = ("--height", "4", "--width", "4", "--num_walls", "2")


def collected(workplace, *arguments):
    assert workplace.run("collect", *arguments, "--output", "out.safetensors") == 0, workplace.shown()
    return load_demonstrations(workplace.folder / "out.safetensors")


def test_the_expert_makes_a_file_that_fit_reads(workplace):
    played, metadata = collected(workplace, "--episodes", "40", "--seed", "3", *SMALL)
    assert played.num_episodes == 40
    assert bool(played.terminated.all())
    assert metadata["source"] == "shortest-path expert"
    assert metadata["seed"] == 3
    assert metadata["env"]["height"] == 4
    assert "wrote 40 episodes" in workplace.shown()
    workplace.fit("--data.path", "out.safetensors", "--trainer.max_steps", "1")


def test_a_file_has_a_name_by_its_recipe_and_is_not_overwritten(workplace):
    assert workplace.run("collect", "--episodes", "5", *SMALL) == 0
    path = workplace.folder / "data" / "gridworld-random_everything-4x4-w2-expert-e5-s0.safetensors"
    content = path.read_bytes()
    assert "exists already" in workplace.refused("collect", "--episodes", "5", *SMALL)
    assert path.read_bytes() == content
    assert workplace.run("collect", "--episodes", "5", *SMALL, "--force") == 0
    assert path.read_bytes() == content


def test_a_checkpoint_plays_its_own_environment(workplace):
    checkpoint = workplace.fit("--trainer.max_steps", "10") / "checkpoints" / "best.ckpt"
    played, metadata = collected(workplace, "--policy", str(checkpoint), "--episodes", "6", "--sample")
    assert played.observations.shape[1:] == (3, 4, 4)
    assert played.num_episodes == 6
    assert "BehaviorCloning" in metadata["source"]
    assert metadata["recipe"]["sample"] is True
    hot, metadata = collected(workplace, "--policy", str(checkpoint), "--sample", "--temperature", "1e6", "--force")
    assert metadata["recipe"]["temperature"] == 1e6
    assert torch.bincount(hot.actions).float().std() < 0.05 * hot.num_transitions


def test_any_gymnasium_environment_with_the_random_policy(workplace):
    played, metadata = collected(workplace, "--policy", "random", "--gym", "CartPole-v1", "--episodes", "8")
    assert played.num_episodes == 8
    assert metadata["env"] == {"kind": "GymnasiumConfig", "id": "CartPole-v1", "kwargs": {}}


def test_random_actions_that_are_continuous(workplace):
    played, metadata = collected(workplace, "--policy", "random", "--gym", "Pendulum-v1", "--episodes", "3")
    assert played.actions.shape == (600, 1)
    assert metadata["source"] == "random policy"


def test_minari_out_and_in_again(workplace, monkeypatch):
    pytest.importorskip("minari", reason="Minari is an optional extra")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(workplace.folder / "minari"))
    played, _ = collected(workplace, "--to_minari", "GridWorld/expert-v0", "--episodes", "20", *SMALL)
    assert f"out.safetensors and {workplace.folder / 'minari' / 'GridWorld' / 'expert-v0'}" in workplace.shown()
    arguments = ("--from_minari", "GridWorld/expert-v0", "--output", "back.safetensors", "--episodes", "12")
    assert workplace.run("collect", *arguments) == 0
    back, metadata = load_demonstrations(workplace.folder / "back.safetensors")
    assert torch.equal(back.observations, played.select(torch.arange(12)).observations)
    assert metadata["source"] == "Minari's GridWorld/expert-v0"
    workplace.fit("--data.path", "back.safetensors", "--trainer.max_steps", "1", "--data.episodes", "12")
    again = ("collect", "--from_file", "back.safetensors", "--to_minari", "GridWorld/expert-v1")
    assert workplace.run(*again) == 0
    assert not (workplace.folder / "data").exists()
    assert "raise its version" in workplace.refused(*again)
    assert "exists already" in workplace.refused("collect", *arguments)
    assert "has only 20" in workplace.refused("collect", *arguments[:2], "--output", "x", "--episodes", "21")


def test_a_part_of_a_file_says_what_of_and_a_file_keeps_to_its_environment(workplace):
    played, whole = collected(workplace, "--policy", "random", "--gym", "CartPole-v1", "--episodes", "8")
    lowest = float(played.returns.min())
    arguments = ("--from_file", "out.safetensors", "--output", "part.safetensors", "--min_return", str(lowest + 1))
    assert workplace.run("collect", *arguments, "--episodes", "6") == 0
    part, metadata = load_demonstrations(workplace.folder / "part.safetensors")
    assert 0 < part.num_episodes <= 6
    assert part.returns.min() > lowest
    assert metadata["recipe"] == {"episodes": 6, "min_return": lowest + 1, "part_of": whole["recipe"]}
    assert metadata["seed"] == whole["seed"]
    assert workplace.run("collect", *arguments[:4], "--force") == 0
    assert load_demonstrations(workplace.folder / "part.safetensors")[1] == whole
    other = ("--from_file", "out.safetensors", "--output", "other.safetensors", "--gym", "Acrobot-v1")
    assert "do not fit the environment 'Acrobot-v1'" in workplace.refused("collect", *other)
    assert not (workplace.folder / "other.safetensors").exists()


def test_pieces_of_episodes_have_no_initial_states(workplace, monkeypatch):
    pytest.importorskip("minari", reason="Minari is an optional extra")
    from iqlightning import GymnasiumConfig
    from iqlightning.data.minari import to_minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(workplace.folder / "minari"))
    whole, _ = collected(workplace, "--policy", "random", "--gym", "CartPole-v1", "--episodes", "6")
    first = int(whole.lengths[0])
    cut = whole.select(torch.tensor([0]))
    pieces = [
        dataclasses.replace(
            cut,
            observations=cut.observations[begin : end + 1],
            actions=cut.actions[begin:end],
            rewards=cut.rewards[begin:end],
            starts=torch.tensor([0, end - begin]),
            terminated=torch.tensor([end == first]),
            truncated=torch.tensor([end != first]),
        )
        for begin, end in ((0, 5), (5, first))
    ]
    there = Trajectories.concatenate([*pieces, whole.select(torch.arange(1, 6))])
    to_minari("pieces-v0", there, GymnasiumConfig("CartPole-v1"), "me")
    assert workplace.run("collect", "--from_minari", "pieces-v0", "--output", "pieces.safetensors") == 0
    assert "go on where the one before ended" in workplace.shown()
    assert load_demonstrations(workplace.folder / "pieces.safetensors")[1]["whole_episodes"] is False
    run = ("fit", "--config", "tiny.yaml", "--data.path", "pieces.safetensors", "--data.env", "null")
    run += ("--data.episodes", "null", "--trainer.max_steps", "1", "--model", "IQLearn")
    sentence = workplace.refused(*run, "--model.value_term", "InitialStates")
    assert "InitialStates with Chi2 needs initial data" in sentence
    assert "whole episodes" in sentence
    assert workplace.run(*run, "--model.value_term", "ExpertStates") == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--from_minari none-v0 --output x", ["no Minari dataset", "'none-v0'"]),
        ("--from_minari ../x-v0 --output x", ["leads out of its folder", "identifier"]),
        ("--from_minari x --output x", ["no identifier", "-v0"]),
        ("--from_minari x-v0", ["--output FILE or --to_minari ID"]),
        ("--from_minari x-v0 --policy random", ["exclude each other"]),
        ("--from_file x --from_minari y-v0", ["exclude each other"]),
        ("--from_file x --output y", ["'x' does not exist"]),
        ("--from_file x --output y --seed 0", ["--seed is for episodes that are played", "--from_file are read"]),
        ("--from_file x --output y --sample", ["--sample is for episodes that are played"]),
        ("--from_minari x-v0 --output y --height 5", ["--height is for episodes that are played", "--from_minari are"]),
        ("--from_minari x-v0 --output y --no-random_start", ["--random_start is for episodes"]),
        ("--to_minari ../x-v0", ["no identifier"]),
    ],
)
def test_a_mistake_with_datasets_is_one_sentence(workplace, monkeypatch, arguments, parts):
    monkeypatch.setenv("MINARI_DATASETS_PATH", "minari")
    sentence = workplace.refused("collect", *arguments.split())
    for part in parts:
        assert part in sentence
    assert not list(workplace.folder.glob("[!.t]*"))


def test_poor_episodes_can_be_left_out(workplace):
    arguments = ("--policy", "random", "--episodes", "60", "--min_return", "5", *SMALL)
    played, _ = collected(workplace, *arguments)
    assert 0 < played.num_episodes < 60
    assert played.returns.min() >= 5
    sentence = workplace.refused("collect", *arguments, "--min_return", "11", "--output", "none.safetensors")
    assert "none of 60 episodes" in sentence
    assert not (workplace.folder / "none.safetensors").exists()


def test_a_function_of_ones_own_needs_trust(workplace, monkeypatch):
    workplace.write(
        "mine.py", "import torch\n\ndef right(obs):\n    return torch.ones(len(obs))\n\ndef wrong(obs):\n    return 1\n"
    )
    sentence = workplace.refused("collect", "--policy", "mine:right", *SMALL)
    assert "--trust mine" in sentence
    sentence = workplace.refused("collect", "--policy", "os:getcwd", *SMALL)
    assert "no function of a package of your own" in sentence
    assert "--trust" not in sentence
    assert "mine" not in sys.modules
    played, _ = collected(workplace, "--policy", "mine:right", "--trust", "mine", "--episodes", "4", *SMALL)
    assert set(played.actions.tolist()) == {1}
    assert "one whole number for each" in workplace.refused(
        "collect", "--policy", "mine:wrong", "--trust", "mine", *SMALL
    )
    own = ("collect", "--policy", "mine:right", "--trust", "mine", "--sample")
    assert "--sample says nothing to a function" in workplace.refused(*own)
    assert "--temperature is for a checkpoint's" in workplace.refused(*own, "--temperature", "2")
    assert "has no function 'left'" in workplace.refused("collect", "--policy", "mine:left", "--trust", "mine")
    monkeypatch.delitem(sys.modules, "mine")


def test_a_function_of_ones_own_may_return_continuous_actions(workplace, monkeypatch):
    workplace.write("torque.py", "def still(obs):\n    return 0 * obs[:, :1]\n\ndef flat(obs):\n    return obs[:, 0]\n")
    own = ("--trust", "torque", "--gym", "Pendulum-v1", "--episodes", "2")
    played, _ = collected(workplace, "--policy", "torque:still", *own)
    assert (played.actions == torch.zeros(400, 1)).all()
    assert "numbers of shape (1,) for each" in workplace.refused("collect", "--policy", "torque:flat", *own)
    monkeypatch.delitem(sys.modules, "torque")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--policy exprt", ["there is no policy 'exprt'", "expert, random"]),
        ("--policy nowhere.ckpt", ["there is no checkpoint 'nowhere.ckpt'"]),
        ("--gym CartPole-v1", ["'CartPole-v1' has no expert of its own"]),
        ("--gym CartPole-v1 --policy random --height 4", ["--height is for GridWorld only"]),
        ("--gym CartPol-v1 --policy random", ["CartPol-v1"]),
        ("--gym_kwargs {}", ["--gym ID"]),
        ("--temperature 2 --policy x.ckpt", ["give --sample as well"]),
        ("--temperature 2", ["--temperature is for a checkpoint's actions", "'expert'"]),
        ("--sample --policy random", ["--sample is for a checkpoint's actions", "'random'"]),
        ("--device cpu", ["--device", "the expert plans on the CPU"]),
        ("--to_minari x-v0 --force", ["--force replaces the file of --output"]),
        ("--gym CartPole-v1 --policy random --gym_kwargs {", ["--gym_kwargs is not JSON"]),
        ("--gym CartPole-v1 --policy random --gym_kwargs [1]", ["--gym_kwargs must be names and values"]),
        ("--level statik", ["did you mean 'static'?"]),
        ("--num_walls 99", ["99 walls"]),
        ("--episodes none", ["--episodes"]),
        ("--minreturn 3", ["did you mean --min_return?"]),
    ],
)
def test_a_mistake_is_one_sentence(workplace, arguments, parts):
    sentence = workplace.refused("collect", *arguments.split())
    for part in parts:
        assert part in sentence
    assert not (workplace.folder / "data").exists()
