"""MiniGrid and BabyAI: wrappers that show networks what a task needs, and experts.

Chevalier-Boisvert et al. 2023, arXiv 2306.13831; BabyAI and its bot: Chevalier-Boisvert et al. 2019, arXiv 1810.08272.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.minigrid_env import MiniGridEnv
from minigrid.utils.baby_ai_bot import BabyAIBot
from minigrid.wrappers import DictObservationSpaceWrapper, FullyObsWrapper, ImgObsWrapper
from torch import Tensor

from iqlightning.envs.mirrors import Mirror
from iqlightning.envs.wrappers import Bounds, wrappers_of
from iqlightning.errors import UserError, blamed_on
from iqlightning.observation_codec import ObservationCodec
from iqlightning.types import BatchEnv, Policy

__all__ = [
    "BotPolicy",
    "Egocentric",
    "GoalPlanner",
    "ImageAndMission",
    "first_move",
    "minigrid_mirror",
    "minigrid_policy",
]

_KIND, _STATE = OBJECT_TO_IDX, STATE_TO_IDX

# Directions 0 to 3: right, down, left, up.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_UP = 3

# Kinds of cells that a player walks onto; it may have to come back to where it is.
_FREE = frozenset(_KIND[name] for name in ("empty", "floor", "goal", "agent"))

# MiniGrid's own vocabulary, and what BabyAI's missions have beside it.
_WORDS = (
    *DictObservationSpaceWrapper.get_minigrid_words(),
    *("after", "behind", "front", "in", "left", "next", "on", "right", "your"),
)


class Egocentric(gymnasium.ObservationWrapper):
    """The whole grid as its player sees it: turned so that the player looks up, and moved to have it in the middle.

    Cells that leave the grid on one side come back on the other, so that nothing is lost: the outer walls tell where
    the grid ends. What lies two cells ahead is always in the same place, and left and right are where the actions go.

    Args:
        env: with an ``image`` of all cells among its observations, as ``minigrid.wrappers.FullyObsWrapper`` gives it.

    Raises:
        UserError: if there is no such image, or its sides are not equal.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        shape = _image_of(env, "Egocentric").shape
        if shape[0] != shape[1]:
            raise UserError(f"the wrapper Egocentric turns grids of equal sides, not {shape[0]} x {shape[1]}")

    def observation(self, observation: Any) -> Any:
        """The same, with the image turned and moved.

        Raises:
            UserError: if the player is not in the image.
        """
        image = observation["image"]
        players = image[image[..., 0] == _KIND["agent"]]
        if len(players) != 1:
            raise UserError("the wrapper Egocentric needs an image with the player in it: put FullyObsWrapper inside")
        turned, middle = np.rot90(image, _UP - int(players[0][2])), len(image) // 2
        ((x, y),) = np.argwhere(turned[..., 0] == _KIND["agent"])
        moved = np.roll(turned, (middle - x, middle - y), (0, 1))
        moved[middle, middle, 2] = _UP
        return {**observation, "image": moved}


class ImageAndMission(gymnasium.ObservationWrapper):
    """Object, colour and state of each cell, and which words occur in the mission.

    It gives {"image": (H, W, 3) symbols, "mission": (V,) 0 or 1 for each word of a vocabulary}. The order of words is
    lost, which matters where two objects are named ("put the red ball next to the blue box").

    Args:
        env: MiniGrid's.
        words: the vocabulary; None for the words of MiniGrid's and BabyAI's missions.

    Raises:
        UserError: if there is no image and no mission, or, when it is played, a mission has another word.
    """

    def __init__(self, env: gymnasium.Env, words: Sequence[str] | None = None) -> None:
        super().__init__(env)
        image = _image_of(env, "ImageAndMission")
        self.words = tuple(_WORDS if words is None else words)
        highest = np.array([max(OBJECT_TO_IDX.values()), max(COLOR_TO_IDX.values()), len(_STEPS) - 1], np.uint8)
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, np.broadcast_to(highest, image.shape), image.shape, np.uint8),
            mission=spaces.MultiBinary(len(self.words)),
        )

    def observation(self, observation: Any) -> dict[str, Any]:
        """Both arrays.

        Raises:
            UserError: if the mission has a word that is not in the vocabulary.
        """
        said = observation["mission"].replace(",", " ").split()
        missing = [word for word in said if word not in self.words]
        if missing:
            raise UserError(
                f"the mission '{observation['mission']}' has the word '{missing[0]}', which is not in the vocabulary "
                "of the wrapper ImageAndMission: name it among its words"
            )
        return {"image": observation["image"], "mission": np.array([word in said for word in self.words], np.int8)}


def first_move(image: np.ndarray) -> int:
    """The first action of a shortest way to the goal, by what is seen alone.

    A breadth-first search over position, direction, key in hand and doors opened. Of ways that are equally short it
    takes the one that goes ahead first, then left. A key that is missing while its door is locked is in hand. Edges
    meet: what leaves the image on one side comes back on the other.

    Args:
        image: (W, H, 3), object, colour and state (of the player its direction) of all cells.

    Returns:
        The action's number; that of ``done`` where no way leads to a goal.
    """
    width, height = image.shape[:2]
    kinds, colours, states = (image[..., i].tolist() for i in range(3))
    at = {name: np.argwhere(image[..., 0] == _KIND[name]).tolist() for name in ("agent", "key", "door")}
    ((x, y),) = at["agent"]
    lying = {colours[i][j] for i, j in at["key"]}
    locked = [colours[i][j] for i, j in at["door"] if states[i][j] == _STATE["locked"]]
    # a key is its colour and where it lay
    held = next(((colour, -1, -1) for colour in locked if colour not in lying), None)
    start = (x, y, states[x][y], held, frozenset())

    def successors(state: Any) -> Iterator[tuple[Actions, Any]]:
        x, y, facing, key, opened = state
        step = _STEPS[facing]
        i, j = (x + step[0]) % width, (y + step[1]) % height
        kind = kinds[i][j]
        is_open = kind == _KIND["door"] and (states[i][j] == _STATE["open"] or (i, j) in opened)
        if kind in _FREE or is_open or (kind == _KIND["key"] and key is not None and key[1:] == (i, j)):
            yield Actions.forward, (i, j, facing, key, opened)
        yield Actions.left, (x, y, (facing - 1) % 4, key, opened)
        yield Actions.right, (x, y, (facing + 1) % 4, key, opened)
        if kind == _KIND["key"] and key is None:
            yield Actions.pickup, (x, y, facing, (colours[i][j], i, j), opened)
        shut = kind == _KIND["door"] and not is_open
        if shut and (states[i][j] == _STATE["closed"] or (key is not None and key[0] == colours[i][j])):
            yield Actions.toggle, (x, y, facing, key, opened | {(i, j)})

    first: dict[Any, int] = {start: int(Actions.done)}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for action, after in successors(state):
            if after not in first:
                first[after] = int(action) if state == start else first[state]
                if kinds[after[0]][after[1]] == _KIND["goal"]:
                    return first[after]
                waiting.append(after)
    return first[start]


class GoalPlanner:
    """Plays :func:`first_move` of each observation.

    Args:
        codec: of observations that are, or hold as ``image``, all cells of the grid.
    """

    label = "shortest way to the goal"
    recipe: ClassVar[dict[str, Any]] = {"expert": "shortest_way", "version": 1}

    def __init__(self, codec: ObservationCodec) -> None:
        self._codec = codec

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """(B, *shape) to (B,); ``sample`` makes no difference."""
        seen = self._codec.decode(observations)
        images = seen["image"] if isinstance(seen, dict) else seen
        return torch.tensor([first_move(image) for image in images], device=observations.device)


class BotPolicy:
    """BabyAI's bot, which looks inside the environments and remembers what it has seen: one for each episode."""

    label = "BabyAI's bot"
    recipe: ClassVar[dict[str, Any]] = {"expert": "babyai_bot", "version": 1}

    def __init__(self) -> None:
        self._bots: list[Any] = []

    def begin(self, batch: BatchEnv, ended: Tensor, playing: Tensor) -> None:
        """Makes a bot where an episode has begun that is played; see :func:`iqlightning.rollout.rollout`."""
        games = batch.games  # type: ignore[attr-defined]
        if len(self._bots) != len(games):
            self._bots = [None] * len(games)
        for index in ended.nonzero()[:, 0].tolist():
            self._bots[index] = BabyAIBot(games[index]) if bool(playing[index]) else None

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """Each bot's action; any one where no episode is played."""
        with blamed_on("BabyAI's bot itself failed"):
            actions = [0 if bot is None else int(bot.replan()) for bot in self._bots]
        return torch.tensor(actions, device=observations.device)


@lru_cache(maxsize=16)
def minigrid_policy(env: Any) -> Policy | None:
    """The bot of a level of BabyAI, the planner of a grid that is seen whole and asks to reach a goal; else None.

    Args:
        env: a :class:`~iqlightning.envs.gymnasium.GymnasiumConfig`.
    """
    codec = env.spaces.codec
    if codec is None or env.spaces.action != spaces.Discrete(len(Actions)):
        return None
    game = env.make_env()
    inner = game.unwrapped
    if isinstance(inner, RoomGridLevel):
        return BotPolicy()
    if not isinstance(inner, MiniGridEnv) or not inner.mission.endswith(("goal", "goal square")):
        return None
    shapes = [part.space.shape for part in codec.parts if part.path in ((), ("image",))]
    sees_all = shapes == [(inner.width, inner.height, 3)] and FullyObsWrapper in map(type, wrappers_of(game))
    return GoalPlanner(codec) if sees_all else None


# Wrappers under which the mirror is known.
_MIRRORED = {
    *(OrderEnforcing, PassiveEnvChecker, TimeLimit),
    *(Bounds, Egocentric, FullyObsWrapper, ImageAndMission, ImgObsWrapper),
}


def minigrid_mirror(env: Any) -> Mirror | None:
    """Left and right exchanged, of what a player sees ahead or around itself; None of any other view.

    Args:
        env: a :class:`~iqlightning.envs.gymnasium.GymnasiumConfig`.
    """
    codec = env.spaces.codec
    if codec is None or env.spaces.action != spaces.Discrete(len(Actions)):
        return None
    around = {type(each): each for each in wrappers_of(env.make_env())}
    if not around.keys() <= _MIRRORED or (FullyObsWrapper in around and Egocentric not in around):
        return None
    order = np.arange(codec.parts[-1].stop)
    for part in codec.parts:
        places = np.arange(part.start, part.stop).reshape(part.shape)
        if part.is_picture:  # the player's column stays, also where it is not quite the middle
            columns = places.shape[1]
            order[places] = places[:, (columns // 2 * 2 - np.arange(columns)) % columns]
        else:
            words = list(around[ImageAndMission].words)  # type: ignore[attr-defined]
            sides = [words.index(word) for word in ("left", "right") if word in words]
            if len(sides) == 1:
                return None
            order[places[sides]] = places[sides[::-1]]
    actions = list(range(len(Actions)))
    actions[Actions.left], actions[Actions.right] = Actions.right, Actions.left
    return Mirror((1,) * len(order), tuple(order.tolist()), tuple(map(int, actions)))


def _image_of(env: gymnasium.Env, wrapper: str) -> spaces.Box:
    space = env.observation_space
    image = space.spaces.get("image") if isinstance(space, spaces.Dict) else None
    if not isinstance(image, spaces.Box) or image.shape[2:] != (3,) or "mission" not in space.spaces:  # type: ignore[union-attr]
        raise UserError(f"the wrapper {wrapper} is for MiniGrid's observations, with an image and a mission")
    return image
