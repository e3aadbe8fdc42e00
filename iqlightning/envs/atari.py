"""Atari's Pong and Breakout: experts that read the console's memory.

The emulator: Bellemare et al. 2013, arXiv 1207.4708. Where the memory holds ball and paddle: Anand et al. 2019,
arXiv 1906.08226; how it holds velocities and the dial was found by playing.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import AtariPreprocessing
from torch import Tensor

from iqlightning.envs.wrappers import wrappers_of
from iqlightning.types import BatchEnv, Policy

__all__ = ["AtariPlayer", "BreakoutPlayer", "PongPlayer", "atari_policy"]

Move = Literal["NOOP", "FIRE", "RIGHT", "LEFT"]

# Frames that a step lasts, as the preset has it and the environments themselves do; players were tried with no others.
_FRAMES = 4

# How far a frame of pressing turns the dial; a paddle halves its distance to the dial every second frame.
_TURN = 6

# Where there is nothing to gain by another press: a bit less than half of what a step turns.
_NEAR = 10


class PongPlayer:
    """The right paddle: keeps to where the ball will be in four steps, whether it comes or flies away.

    What it does is told by what is seen in a few pictures, and it moves in a third of its steps. One that goes to where
    the ball will cross its line, as soon as that is known, is no better and hard to learn from: it finds places from
    which the same rally goes on by itself, 98% of its moves are none, and where it stands still it stands in the right
    place, so that a network which stands elsewhere stays there. Now and then a move is any of the three, so that
    demonstrations show more ways back (noise on demonstrations: Laskey et al. 2017, arXiv 1703.09327); which ones those
    are follows from the memory too.

    A step of four frames turns the dial by more than the paddle is high, and the paddle follows late, so that playing
    by what is seen of the paddle oscillates. Where the dial stands is estimated from the paddle's way: an action may
    last some frames longer than it was chosen for (sticky actions), and the number that explains the way best counts.
    """

    # the table's edges, where the paddle hits, and by how much its place is above the middle of what it hits
    _TOP, _BOTTOM, _X, _MIDDLE = 46.0, 206.0, 190, 7
    _ENDS = (38.0, 203.0)  # of the dial
    _AHEAD = 16.0  # frames that it looks ahead
    _ANY, _LATEST = 0.1, 175  # share of moves that are any, and up to which place of the ball

    def __init__(self) -> None:
        self._dial: float | None = None
        self._paddle = 0.0
        self._before = self._now = 0  # the last two moves: -1 up, 1 down

    def __call__(self, memory: np.ndarray) -> Move:
        """The move for (128,) bytes; to be asked once a step."""
        paddle = float(memory[51])
        self._dial = paddle if self._dial is None else self._followed(paddle, self._dial)
        self._paddle = paddle
        off = self._goal(memory) - self._dial
        move = 0 if abs(off) <= _NEAR else (1 if off > 0 else -1)
        rng = np.random.default_rng(list(memory))
        if memory[49] < self._LATEST and rng.random() < self._ANY:
            move = int(rng.integers(-1, 2))
        self._before, self._now = self._now, move
        return ("NOOP", "LEFT", "RIGHT")[move]

    def _goal(self, memory: np.ndarray) -> float:
        """Where the dial shall stand: level with the ball of some frames later, in the middle where there is none."""
        x, y, across, down = int(memory[49]), int(memory[54]), -_signed(memory[58]), _signed(memory[56])
        if y == 0:
            return sum(self._ENDS) / 2
        coming = across > 0 and x < self._X
        ahead = min(self._AHEAD, (self._X - x) / across) if coming else self._AHEAD
        return _bounced(y + down * ahead, self._TOP, self._BOTTOM) - self._MIDDLE

    def _followed(self, seen: float, dial: float) -> float:
        """Where the dial stands after a step that brought the paddle to where it is seen."""
        if seen == self._paddle and not self._before and not self._now:
            return seen  # at rest; it stops some places short of the dial
        best = (np.inf, seen)
        for longer in range(_FRAMES + 1):  # frames for which the move before went on
            paddle, turned = self._paddle, dial
            for frame in range(_FRAMES):
                turn = _TURN * (self._before if frame < longer else self._now)
                turned = min(max(turned + turn, self._ENDS[0]), self._ENDS[1])
                if frame % 2:
                    paddle += (turned - paddle) / 2
            missed = abs(paddle - seen)
            # of two numbers that explain it alike, the likelier one; what none explains began anew, as after a point
            best = min(best, (missed + longer / 2, turned if missed < 8 else seen))
        return best[1]


class BreakoutPlayer:
    """The paddle goes to where the ball will come; while the ball rises it stays. It serves at once.

    The console's memory tells where the dial stands. Where no brick has fallen for long, the ball goes round in a
    circle, and the paddle hits it elsewhere.
    """

    # the walls, where the paddle hits, and by how much its place is left of the middle of what it hits
    _LEFT, _RIGHT, _Y, _MIDDLE = 57.0, 200.0, 180, 8
    _REST = 235  # paddle and dial together, where the paddle has arrived
    _LONG, _ELSEWHERE = 150, (0, 5, -5)  # steps, and how far from the middle

    def __init__(self) -> None:
        self._bricks = b""
        self._still = 0  # steps in which they have stayed the same

    def __call__(self, memory: np.ndarray) -> Move:
        """The move for (128,) bytes; to be asked once a step."""
        bricks = memory[:36].tobytes()
        self._still = self._still + 1 if bricks == self._bricks else 0
        self._bricks = bricks
        x, y = int(memory[99]), int(memory[101])
        if y == 0:
            return "FIRE"
        down = _signed(memory[103]) + int(memory[104]) / 256
        across = -(_signed(memory[105]) + int(memory[106]) / 256)
        if down <= 0:
            return "NOOP"
        aim = _bounced(x + across * (self._Y - y) / down, self._LEFT, self._RIGHT)
        elsewhere = self._ELSEWHERE[self._still // self._LONG % len(self._ELSEWHERE)]
        off = aim - self._MIDDLE - elsewhere - (self._REST - int(memory[70]))
        return "NOOP" if abs(off) <= _NEAR else ("RIGHT" if off > 0 else "LEFT")


#: Games to the players that there are.
PLAYERS: dict[str, Callable[[], Callable[[np.ndarray], Move]]] = {"breakout": BreakoutPlayer, "pong": PongPlayer}


class AtariPlayer:
    """Plays a game by the memory of its console, which networks do not see: one player for each episode.

    Args:
        game: one of :data:`PLAYERS`.
        actions: the names of the environment's actions.
    """

    label = "player that reads the console's memory"

    def __init__(self, game: str, actions: Sequence[str]) -> None:
        self.recipe: dict[str, Any] = {"expert": f"{game}_by_memory", "version": 3}
        self._make, self._actions = PLAYERS[game], list(actions)
        self._playing: list[tuple[Any, Any]] = []

    def begin(self, batch: BatchEnv, ended: Tensor, playing: Tensor) -> None:
        """Makes a player where an episode has begun; see :func:`iqlightning.rollout.rollout`."""
        games = batch.games  # type: ignore[attr-defined]
        self._playing = self._playing if len(self._playing) == len(games) else [(None, None)] * len(games)
        for index in ended.nonzero()[:, 0].tolist():
            player = self._make() if bool(playing[index]) else None
            self._playing[index] = (games[index].unwrapped.ale, player)

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """Each player's action, (N, *shape) to (N,); ``sample`` makes no difference, and observations are not read."""
        moves = ["NOOP" if player is None else player(console.getRAM()) for console, player in self._playing]
        return torch.tensor([self._actions.index(move) for move in moves], device=observations.device)


@lru_cache(maxsize=16)
def atari_policy(env: Any) -> Policy | None:
    """The player of Pong and Breakout where a step lasts four frames; None of another environment.

    Args:
        env: a :class:`~iqlightning.envs.gymnasium.GymnasiumConfig`.
    """
    if not isinstance(env.spaces.action, spaces.Discrete):
        return None
    game = env.make_env()
    console = game.unwrapped
    arguments: dict[str, Any] = console.spec.kwargs if console.spec else {}
    skips = [each.frame_skip for each in wrappers_of(game) if isinstance(each, AtariPreprocessing)]
    game.close()
    if arguments.get("game") not in PLAYERS or math.prod([arguments["frameskip"], *skips]) != _FRAMES:
        return None
    return AtariPlayer(arguments["game"], console.get_action_meanings())


def _signed(byte: np.uint8) -> int:
    return int(byte.astype(np.int8))


def _bounced(place: float, low: float, high: float) -> float:
    """Where something is that would be at a place if walls at both ends did not throw it back."""
    place = (place - low) % (2 * (high - low))
    return low + min(place, 2 * (high - low) - place)
