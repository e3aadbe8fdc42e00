"""The game against the rules as one would write them down for a single grid, for any configuration there can be."""

from collections import deque
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iqlightning import GridWorldConfig, UserError
from iqlightning.gridworld.config import LEVELS
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.state import GridWorldBatch

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
MANY = settings(max_examples=100, deadline=None, derandomize=True)

Cell = tuple[int, int]


def reachable(walls: list[list[bool]], goal: Cell) -> dict[Cell, int]:
    """Breadth first: every free cell from which the goal can be reached, with the moves it takes."""
    moves, queue = {goal: 0}, deque([goal])
    while queue:
        row, column = queue.popleft()
        for down, right in MOVES:
            cell = (row + down, column + right)
            inside = 0 <= cell[0] < len(walls) and 0 <= cell[1] < len(walls[0])
            if inside and not walls[cell[0]][cell[1]] and cell not in moves:
                moves[cell] = moves[row, column] + 1
                queue.append(cell)
    return moves


class Plain:
    """One grid, played by the rules."""

    def __init__(self, walls: list[list[bool]], start: Cell, goal: Cell, limit: int) -> None:
        self.walls, self.player, self.goal, self.limit, self.made = walls, start, goal, limit, 0

    def step(self, action: int) -> tuple[float, bool, bool]:
        row, column = self.player[0] + MOVES[action][0], self.player[1] + MOVES[action][1]
        if 0 <= row < len(self.walls) and 0 <= column < len(self.walls[0]) and not self.walls[row][column]:
            self.player = (row, column)
        self.made += 1
        if self.player == self.goal:
            return 10.0, True, False
        return -1.0, False, self.made >= self.limit

    def observation(self) -> list[list[list[int]]]:
        marks = [
            [[int((r, c) == place) for c in range(len(row))] for r, row in enumerate(self.walls)]
            for place in (self.player, self.goal)
        ]
        return [[[int(cell) for cell in row] for row in self.walls], *marks]


@st.composite
def games(draw: Any) -> GridWorldConfig:
    height, width = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    options: dict[str, Any] = {"random_start": draw(st.booleans()), "max_moves": draw(st.none() | st.integers(1, 12))}
    layout = draw(st.sampled_from(["random", "random", "random", "maze", "rooms"]))
    try:
        if layout != "random":
            return GridWorldConfig("random_everything", height, width, layout=layout, **options)
        level = draw(st.sampled_from(sorted(LEVELS)))
        free = GridWorldConfig(level, height, width, num_walls=0, **options)
        return GridWorldConfig(level, height, width, num_walls=draw(st.integers(0, free.max_walls)), **options)
    except UserError:  # the layout needs longer sides
        return GridWorldConfig("random_everything", height, width, num_walls=0, **options)


def cell(flat: int, config: GridWorldConfig) -> Cell:
    return divmod(flat, config.width)


@MANY
@given(games(), st.integers(-(2**40), 2**40), st.sampled_from(["any", "train", "validation", "test"]))
def test_every_grid_is_what_its_configuration_says(config: GridWorldConfig, seed: int, split: str):
    seeds = torch.tensor([seed, seed, seed + 1])
    episodes = torch.tensor([0, 1, 0])
    layouts = draw_layouts(config, seeds, episodes, split)
    batch = GridWorldBatch.from_layouts(config, layouts)
    for index in range(3):
        walls = layouts.walls[index].tolist()
        start, goal = cell(int(layouts.start[index]), config), cell(int(layouts.goal[index]), config)
        moves = reachable(walls, goal)
        assert sum(map(sum, walls)) == config.wall_count
        assert not walls[goal[0]][goal[1]]
        assert start != goal
        assert start in moves
        assert config.random_start or start == (0, 0)
        assert config.random_goal or goal == (config.height - 1, config.width - 1)
        assert int(batch.shortest[index]) == moves[start]
        assert int(batch.manhattan[index]) == abs(start[0] - goal[0]) + abs(start[1] - goal[1])
    again = draw_layouts(config, seeds[2:], episodes[2:], split)
    assert torch.equal(again.walls[0], layouts.walls[2])
    assert (int(again.start), int(again.goal)) == (int(layouts.start[2]), int(layouts.goal[2]))
    if not config.random_walls:
        assert torch.equal(layouts.walls[0], layouts.walls[2])


@MANY
@given(games(), st.integers(0, 2**40), st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_a_batch_plays_as_the_rules_say(config: GridWorldConfig, seed: int, actions: list[int]):
    """Three grids at once, each with actions of its own, through the ends of episodes."""
    batch = GridWorldBatch(config, 3, seed=seed)
    seeds = torch.arange(seed, seed + 3)
    obs = batch.reset()
    episodes = [0, 0, 0]

    def begin(index: int) -> Plain:
        layouts = draw_layouts(config, seeds[index : index + 1], torch.tensor([episodes[index]]))
        start, goal = cell(int(layouts.start), config), cell(int(layouts.goal), config)
        return Plain(layouts.walls[0].tolist(), start, goal, config.move_limit)

    grids = [begin(index) for index in range(3)]
    assert obs.tolist() == [grid.observation() for grid in grids]
    for action in actions:
        chosen = [action, (action + 1) % 4, 3 - action]
        result = batch.step(torch.tensor(chosen))
        for index, grid in enumerate(grids):
            reward, terminated, truncated = grid.step(chosen[index])
            assert float(result.rewards[index]) == reward
            assert bool(result.terminated[index]) is terminated
            assert bool(result.truncated[index]) is truncated
            assert result.next_obs[index].tolist() == grid.observation()
            if terminated or truncated:
                episodes[index] += 1
                grids[index] = begin(index)
            assert result.obs[index].tolist() == grids[index].observation()
