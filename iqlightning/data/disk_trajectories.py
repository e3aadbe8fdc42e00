"""Demonstrations larger than memory: the observations stay in the file, everything else is small."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int, Integer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from iqlightning.data.demonstrations import header_of, verify
from iqlightning.data.disk_rows import DiskRows
from iqlightning.errors import UserError
from iqlightning.types import Transition

__all__ = ["DiskTrajectories", "checking_bar", "open_demonstrations"]

_DTYPES = {"U8": torch.uint8, "BOOL": torch.bool, "I32": torch.int32, "I64": torch.int64}
_SMALL = ("starts", "terminated", "truncated")
_DTYPES |= {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


class DiskTrajectories:
    """Chosen episodes of a demonstrations file, as :class:`~iqlightning.types.Trajectories` without its observations.

    Transition i of the chosen ones goes from row ``frames_of(i)`` of the file's observations to the row after it.

    Args:
        observations: of the whole file.
        rewards: (N,) of the whole file.
        actions: (N,) of the whole file, of any integer type.
        starts: (E + 1,) int64 of the whole file.
        terminated: (E,) of the whole file.
        truncated: (E,) of the whole file.
        episodes: the chosen ones, increasing; None for all.
        device: of what is served.

    Attributes:
        observations: of the whole file.
        actions: of the whole file.
        starts: (E' + 1,) int64, offsets of the chosen episodes' transitions among the chosen ones'.
        terminated: (E',) bool of the chosen episodes.
        truncated: (E',) bool.
    """

    def __init__(
        self,
        observations: DiskRows,
        rewards: DiskRows,
        actions: Integer[Tensor, " transitions"],
        starts: Int[Tensor, " bounds"],
        terminated: Bool[Tensor, " episodes"],
        truncated: Bool[Tensor, " episodes"],
        episodes: Int[Tensor, " chosen"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._file = (observations, rewards, actions, starts, terminated, truncated)
        self.observations, self.actions = observations, actions
        self.device = torch.device(device)
        if episodes is None:
            episodes = torch.arange(len(starts) - 1)
        self._episodes = episodes
        first_move = starts[episodes]
        lengths = starts[episodes + 1] - first_move
        self.starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        self.terminated, self.truncated = terminated[episodes], truncated[episodes]
        # what to add to the number of a transition for its place among the actions and the observations of the file
        self._to_move = first_move - self.starts[:-1]
        self._to_frame = self._to_move + episodes

    @property
    def num_episodes(self) -> int:
        """E'."""
        return len(self.starts) - 1

    @property
    def num_transitions(self) -> int:
        """Of the chosen episodes."""
        return int(self.starts[-1])

    @property
    def lengths(self) -> Int[Tensor, " episodes"]:
        """Moves of each episode."""
        return self.starts.diff()

    def select(self, episodes: Int[Tensor, " chosen"]) -> "DiskTrajectories":
        """Some of the chosen episodes, increasing."""
        return DiskTrajectories(*self._file, self._episodes[episodes], self.device)

    def to(self, device: torch.device | str) -> "DiskTrajectories":
        """The same, served on another device."""
        return DiskTrajectories(*self._file, self._episodes, device)

    def close(self) -> None:
        """Closes the file for all chosen episodes of it, until something is read again."""
        for rows in self._file[:2]:
            rows.close()

    def arrays(self) -> "dict[str, Tensor | _Chosen]":
        """What :class:`~iqlightning.types.Trajectories` of the chosen episodes would hold, to be read once."""
        observations, rewards, actions, starts, *_ = self._file
        # neighbouring episodes are one stretch of the file
        breaks = (self._episodes.diff() != 1).nonzero().squeeze(1)
        first = self._episodes[torch.cat([breaks.new_zeros(1), breaks + 1])]
        last = self._episodes[torch.cat([breaks, breaks.new_tensor([self.num_episodes - 1])])] + 1
        moves = starts[first], starts[last]
        count = self.num_transitions
        return {
            "actions": _Chosen(actions, torch.int64, count, moves),
            "observations": _Chosen(
                observations, observations.dtype, count + self.num_episodes, (moves[0] + first, moves[1] + last)
            ),
            "rewards": _Chosen(rewards, rewards.dtype, count, moves),
            "starts": self.starts,
            "terminated": self.terminated,
            "truncated": self.truncated,
        }

    def episode_of(self, indices: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
        """The episode that each of some transitions belongs to."""
        return torch.searchsorted(self.starts, indices, right=True) - 1

    def rows_of(self, indices: Int[Tensor, "*batch"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of some transitions: the row of s among the file's observations, action, terminated, truncated."""
        episode = self.episode_of(indices)
        last = indices + 1 == self.starts[episode + 1]
        actions = self.actions[indices + self._to_move[episode]].to(torch.int64)
        ended = last & self.terminated[episode], last & self.truncated[episode]
        return indices + self._to_frame[episode], actions, *ended

    def first_rows(self, episodes: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
        """The rows of some episodes' initial states."""
        return self.starts[episodes] + self._to_frame[episodes]

    def transitions(self, indices: Int[Tensor, " batch"]) -> Transition:
        """The transitions at ``indices``, without rewards."""
        indices = indices.cpu()
        rows, actions, terminated, truncated = self.rows_of(indices)
        obs, next_obs = self.observations.read(torch.cat([rows, rows + 1])).to(self.device).chunk(2)
        ended = terminated.to(self.device), truncated.to(self.device)
        return Transition(obs, actions.to(self.device), next_obs, *ended)

    def initial_observations(self, episodes: Int[Tensor, " batch"]) -> Tensor:
        """The true initial states of some episodes."""
        return self.observations.read(self.first_rows(episodes.cpu())).to(self.device)


class _Chosen:
    """Stretches of an array, one after the other."""

    def __init__(
        self, array: Tensor | DiskRows, dtype: torch.dtype, count: int, stretches: tuple[Tensor, Tensor]
    ) -> None:
        self._array, self.dtype, self.shape = array, dtype, (count, *array.shape[1:])
        self._stretches = stretches[0].tolist(), stretches[1].tolist()

    def pieces(self) -> Iterator[Tensor]:
        """In order."""
        array = self._array
        if isinstance(array, Tensor):
            return (array[first:last].to(self.dtype) for first, last in zip(*self._stretches, strict=True))
        return array.ranges(*self._stretches)


@contextmanager
def checking_bar(path: str | Path) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal, over the bytes of a file; yields what to call with increments."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking demonstrations", total=Path(path).stat().st_size if Path(path).is_file() else 0)
        yield lambda count: bar.advance(task, count)


def open_demonstrations(
    path: str | Path, progress: Callable[[int], None] | None = None
) -> tuple[DiskTrajectories, dict[str, Any]]:
    """Opens a demonstrations file of any size, and checks every byte of it in one pass.

    Args:
        path: the file.
        progress: called with the number of newly checked bytes.

    Raises:
        UserError: as :func:`~iqlightning.data.demonstrations.load_demonstrations`.
    """
    path = Path(path)
    header, metadata = header_of(path)
    arrays, served = _arrays_in(path), ()
    try:
        found = _checked(path, header, arrays, progress)
        served = ("observations", "rewards")
    finally:
        for name, rows in arrays.items():
            if name not in served:
                rows.close()
    return found, metadata


def _arrays_in(path: Path) -> dict[str, DiskRows]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        layout = json.loads(file.read(size))
    arrays: dict[str, DiskRows] = {}
    for name, entry in layout.items():
        if name != "__metadata__":
            if entry["dtype"] not in _DTYPES:
                raise UserError(f"'{path}' is not a demonstrations file: its {name} are {entry['dtype']}")
            offset = 8 + size + entry["data_offsets"][0]
            arrays[name] = DiskRows(path, offset, tuple(entry["shape"]), _DTYPES[entry["dtype"]])
    return arrays


def _checked(
    path: Path,
    header: dict[str, str],
    arrays: dict[str, DiskRows],
    progress: Callable[[int], None] | None,
) -> DiskTrajectories:
    # one that is empty or a single number is left for the check to refuse
    small = {
        name: torch.cat(list(rows.pieces()))
        for name, rows in arrays.items()
        if name in _SMALL and rows.ndim and rows.shape[0]
    }
    verify(path, header, arrays | small, progress)
    # the narrowest integer: actions are read at random, and this way they fit into memory
    highest = max((int(piece.max()) for piece in arrays["actions"].pieces()), default=0)
    dtype = torch.uint8 if highest < 256 else torch.int64
    actions = torch.cat([piece.to(dtype) for piece in arrays["actions"].pieces()])
    starts, terminated, truncated = (small[name] for name in _SMALL)
    return DiskTrajectories(arrays["observations"], arrays["rewards"], actions, starts, terminated, truncated)
