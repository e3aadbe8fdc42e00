"""Trajectories that were stored once and are played again exactly: grids, moves, rewards, ends, experts and numbers.

A change that breaks this breaks every published seed. If it is meant, run this file as a program: it stores what there
is now.
"""

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch

from iqlightning.gridworld.config import LEVELS, GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.planning import optimal_actions, shortest_paths
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.keyed import Stream, hash_keys, integers
from iqlightning.registration import env_config_from_dict

KEPT = Path(__file__).parent / "kept" / "golden_trajectories.json"

#: Configuration, seed, episode, split.
GAMES: list[tuple[GridWorldConfig, int, int, str]] = [
    (GridWorldConfig("static"), 0, 0, "any"),
    (GridWorldConfig("random_walls"), 1, 0, "train"),
    (GridWorldConfig("random_goal", 6, 9), 2, 3, "validation"),
    (GridWorldConfig(), 3, 0, "test"),
    (GridWorldConfig(height=5, width=5, num_walls=0, max_moves=2), -4, 1, "any"),
    (GridWorldConfig(height=8, width=8, wall_density=0.3), 5, 2, "train"),
    (GridWorldConfig("random_walls", 4, 7, num_walls=9, random_start=False), 6, 0, "any"),
    (GridWorldConfig(height=9, width=9, layout="maze"), 7, 0, "test"),
    (GridWorldConfig(height=11, width=8, layout="rooms"), 1 << 40, 0, "any"),
    (GridWorldConfig(height=10, width=10, wall_density=0.2, min_size=4), 9, 1, "validation"),
]


def begun(config: GridWorldConfig, seed: int, episode: int, split: str) -> GridWorldBatch:
    batch = GridWorldBatch(config, 1, seed=seed, split=split)
    for _ in range(episode + 1):
        batch.reset()
    return batch


def chosen(config: GridWorldConfig, seed: int, episode: int, split: str) -> list[int]:
    """Mostly moves along a shortest way, every third perhaps one of chance, until the episode ends."""
    batch, actions = begun(config, seed, episode, split), []
    layouts = batch.layouts
    best = optimal_actions(shortest_paths(layouts.walls, layouts.goal), layouts.walls).to(torch.int64).argmax(2)[0]
    while True:
        chance = int(integers(Stream.SAMPLE, seed, len(actions), bound=8))
        actions.append(chance if chance < 4 and len(actions) % 3 == 2 else int(best[batch.player[0]]))
        result = batch.move(torch.tensor(actions[-1:]))
        if result.terminated or result.truncated:
            return actions


def played(config: GridWorldConfig, seed: int, episode: int, split: str, actions: list[int]) -> dict[str, Any]:
    """All that there is to say about an episode."""
    batch = begun(config, seed, episode, split)
    layouts = batch.layouts
    facts: dict[str, Any] = {
        "env": config.to_dict(),
        "seed": seed,
        "episode": episode,
        "split": split,
        "walls": ["".join(".#"[wall] for wall in row) for row in layouts.walls[0].int().tolist()],
        "start": int(layouts.start),
        "goal": int(layouts.goal),
        "shortest": int(batch.shortest),
        "actions": "".join(map(str, actions)),
    }
    players, rewards, ends = [], [], []
    for action in actions:
        result = batch.move(torch.tensor([action]))
        players.append(int(batch.player))
        rewards.append(int(result.rewards))
        ends.append("-tT"[int(result.truncated) + 2 * int(result.terminated)])
    return facts | {"players": players, "rewards": rewards, "ends": "".join(ends)}


def demonstrations() -> dict[str, Any]:
    made = shortest_path_demonstrations(GridWorldConfig(height=6, width=6), 5, seed=11)
    return {"actions": made.actions.tolist(), "starts": made.starts.tolist(), "rewards": made.rewards.tolist()}


def numbers() -> list[int]:
    return [int(hash_keys(stream, 7, 1 << 50, -3)) for stream in Stream]


def kept() -> dict[str, Any]:
    return json.loads(KEPT.read_text())


@pytest.mark.parametrize("index", range(len(GAMES)))
def test_a_stored_trajectory_is_played_again_exactly(index):
    stored = kept()["trajectories"][index]
    config = env_config_from_dict(stored["env"])
    assert isinstance(config, GridWorldConfig)
    actions = [int(action) for action in stored["actions"]]
    now = played(config, stored["seed"], stored["episode"], stored["split"], actions)
    # a later version may know more settings; those that were stored have to mean the same
    assert now | {"env": stored["env"]} == stored


def test_the_stored_trajectories_are_ten_of_all_levels_and_both_ends():
    stored = kept()["trajectories"]
    assert len(stored) == 10
    assert {each["env"]["level"] for each in stored} == set(LEVELS)
    assert {each["env"]["layout"] for each in stored} == {"random", "maze", "rooms"}
    assert {each["split"] for each in stored} == {"any", "train", "validation", "test"}
    assert {each["ends"][-1] for each in stored} == {"t", "T"}
    assert all(set(each["ends"][:-1]) <= {"-"} for each in stored)


def test_gymnasium_plays_them_as_well():
    count = 0
    for stored in kept()["trajectories"]:
        if stored["episode"] != 0 or stored["seed"] < 0:
            continue
        count += 1
        options = {k: v for k, v in stored["env"].items() if k not in ("kind", "level", "max_size")}
        walls, goal = LEVELS[stored["env"]["level"]]
        options |= {"random_walls": walls, "random_goal": goal, "split": stored["split"], "disable_env_checker": True}
        env = gymnasium.make("iqlightning/GridWorld-v0", **options)
        observation, info = env.reset(seed=stored["seed"])
        assert info["shortest"] == stored["shortest"]
        for action, player, reward, end in zip(
            stored["actions"], stored["players"], stored["rewards"], stored["ends"], strict=True
        ):
            observation, given, terminated, truncated, _ = env.step(int(action))
            assert int(observation[1].flatten().argmax()) == player
            assert (given, terminated, truncated) == (reward, end == "T", end == "t")
    assert count >= 5


def test_the_stored_demonstrations_are_made_again_exactly():
    assert demonstrations() == kept()["expert"]


def test_the_stored_numbers_are_drawn_again_exactly():
    assert numbers()[: len(kept()["numbers"])] == kept()["numbers"]


if __name__ == "__main__":
    trajectories = [json.dumps(played(*game, chosen(*game))) for game in GAMES]
    rest = [f'"expert": {json.dumps(demonstrations())}', f'"numbers": {json.dumps(numbers())}']
    lines = ",\n".join(trajectories)
    KEPT.write_text(f'{{"trajectories": [\n{lines}],\n' + ",\n".join(rest) + "}\n")
