"""The game as a compiled program, for batches on the CPU: the same numbers several times as fast.

On a batch of tensors each of some dozen operations passes over memory by itself, and torch's own compiler makes the
scattered writes that a move consists of slower, not faster. ``game.c`` makes one pass. It is compiled once, with the
system's C compiler, and kept in the user's cache folder.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game import bitboards
from iqlightning.gridworld.game.layouts import (
    FEW_WALLS,
    GOAL_KEY,
    PATIENCE,
    SPLITS,
    START_KEY,
    WALL_KEY,
    arrangement_varies,
    share_tables,
    splits_are_disjoint,
)
from iqlightning.gridworld.game.planning import GOAL_REWARD, MOVE_REWARD, edge_table
from iqlightning.keyed import Stream

__all__ = ["TENSORS", "CompiledGame", "load_library"]

_SOURCE = Path(__file__).with_name("game.c")
_COMPILERS = ("cc", "gcc", "clang")
# numbers that both ways of drawing a grid have in common
_NUMBERS = {
    "WALLS_AT_MOST": FEW_WALLS,
    "LAYOUT": int(Stream.LAYOUT),
    "SPLIT": int(Stream.SPLIT),
    "GOAL_KEY": GOAL_KEY,
    "START_KEY": START_KEY,
    "WALL_KEY": WALL_KEY,
}
_FLAGS = ("-O3", "-shared", "-fPIC", *(f"-D{name}={value}" for name, value in _NUMBERS.items()))

#: The tensors of a batch in the order of the C structure.
TENSORS = ("planes", "successor", "stale", "seeds", "episodes", "player", "start", "goal", "moves", "shortest", "ended")


class _Rules(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("height", "width", "walls", "random_start", "random_goal", "shares")),
        ("row_bits", ctypes.c_int64),
        ("share_of_cell", ctypes.c_void_p),
        ("factors", ctypes.c_void_p),
        ("patience", ctypes.c_int64),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_int64),
        ("limit", ctypes.c_int64),
        ("goal_reward", ctypes.c_float),
        ("move_reward", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("edges", *TENSORS)),
    )


class CompiledGame:
    """Moves and new episodes of a batch, on its own tensors, whose memory stays where it is.

    Grids of few random walls, the usual ones, are drawn here; others are left to ``layouts.py``.

    Args:
        library: from :func:`load_library`.
        config: the game.
        split: of the grids.
        tensors: by the names of :data:`TENSORS`: uint8 planes and successors (N, 3, cells), bool stale, int64 else.

    Attributes:
        draws: whether grids are drawn here.
    """

    def __init__(
        self, library: ctypes.CDLL, config: GridWorldConfig, split: str, tensors: Mapping[str, Tensor]
    ) -> None:
        self.draws = (
            config.random_walls
            and config.layout == "random"
            and config.min_size is None
            and config.wall_count <= FEW_WALLS
            and max(config.height, config.width) <= 64
            and arrangement_varies(config)
        )
        shares = SPLITS[split if split == "any" or splits_are_disjoint(config) else "any"]
        of_cell, factors = share_tables(config, torch.device("cpu"))
        edges = edge_table(config.height, config.width).contiguous()
        self._kept = [of_cell, factors, edges, *tensors.values()]  # as long as there are pointers to them
        self._rules = _Rules(
            config.height,
            config.width,
            config.wall_count,
            int(config.random_start),
            int(config.random_goal),
            sum(1 << share for share in shares),
            torch.iinfo(bitboards.row_dtype(config.width)).bits,
            of_cell.data_ptr(),
            factors.data_ptr(),
            PATIENCE,
        )
        pointers = [edges.data_ptr(), *(tensors[name].data_ptr() for name in TENSORS)]
        self._count, self._ended = len(tensors["player"]), tensors["ended"]
        self._none = self._ended[:0]
        self._batch = _Batch(self._count, config.move_limit, GOAL_REWARD, MOVE_REWARD, *pointers)
        self._both = ctypes.byref(self._rules), ctypes.byref(self._batch)
        self._move, self._step, self._restart = library.move, library.step, library.restart

    def move(self, actions: Tensor, *, restart: bool) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor] | None:
        """One move in each grid, and with ``restart`` new episodes where that ended one and grids are drawn here.

        Args:
            actions: (N,) int64, contiguous.
            restart: whether to begin new episodes.

        Returns:
            rewards, terminated and truncated; and the environments whose episodes ended and have not begun anew. None,
            and nothing is done, if an action is not valid.
        """
        rewards, flags = torch.empty(self._count), torch.empty((2, self._count), dtype=torch.bool)
        function = self._step if restart and self.draws else self._move
        ended = function(*self._both, actions.data_ptr(), rewards.data_ptr(), flags.data_ptr())
        if ended < 0:
            return None
        terminated, truncated = flags.unbind(0)
        return (rewards, terminated, truncated), self._ended[:ended] if ended else self._none

    def restart(self, envs: Tensor) -> Tensor:
        """Begins the next episodes of some environments, (count,) int64; returns those that are left to the caller."""
        if not self.draws:
            return envs
        envs = envs.clone()
        return envs[: self._restart(*self._both, len(envs), envs.data_ptr())]


@lru_cache(maxsize=1)
def load_library() -> ctypes.CDLL | None:
    """The compiled program, or None, with one sentence that says why, where it cannot be made."""
    compiler = next(
        (found for name in (os.environ.get("CC"), *_COMPILERS) if name and (found := shutil.which(name))), None
    )
    if compiler is None:
        return _without(f"there is no C compiler ({', '.join(_COMPILERS)})")
    # the program is made for the processor at hand, and home folders are shared by different machines
    made_of = (_SOURCE.read_bytes(), compiler, platform.node(), platform.machine(), _FLAGS)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iqlightning"
    library = folder / f"game-{digest}.so"
    try:
        if not library.is_file():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _compile(compiler, library)
        loaded = ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError) as error:
        return _without(f"compiling the game failed ({type(error).__name__})")
    for function in (loaded.move, loaded.step):
        function.argtypes = [ctypes.c_void_p] * 5
    loaded.restart.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    loaded.move.restype = loaded.step.restype = loaded.restart.restype = ctypes.c_int64
    return loaded


def _compile(compiler: str, library: Path) -> None:
    # beside its place and renamed, so that processes that do so at once never load half of it
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        made = Path(scratch) / library.name
        for flags in (("-march=native", *_FLAGS), _FLAGS):  # not every compiler knows the first one
            command = [compiler, *flags, "-o", str(made), str(_SOURCE)]
            done = subprocess.run(command, capture_output=True, timeout=120, check=flags is _FLAGS)
            if done.returncode == 0:
                os.replace(made, library)
                return


def _without(why: str) -> None:
    warnings.warn(f"compile has no effect: {why}; steps are made operation by operation", stacklevel=3)
