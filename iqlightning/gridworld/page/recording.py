"""Recordings: what a person plays, kept as demonstrations files that ``fit`` takes as they are.

The file is the recording. It is written anew, beside itself and renamed, whenever an episode ends: whatever dies (the
browser, the server, the machine), the finished episodes are on the disk and nothing has to be put together again.
"""

import os
import re
import threading
from pathlib import Path
from typing import Any

import torch

from iqlightning.data.demonstrations import check_fits, load_demonstrations, read_metadata, save_demonstrations
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.registration import env_config_from_dict
from iqlightning.types import Trajectories

__all__ = ["SOURCE", "Recording", "RecordingFolder"]

#: How a file says that a person played it here; only such files are ever continued.
SOURCE = "a person, in the browser"

_SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_LISTED = 50


class RecordingFolder:
    """The folder that recordings go to, and which of them are being recorded right now.

    Args:
        path: the folder; it is made when the first recording is.
        max_bytes: how large one recording can become.
    """

    def __init__(self, path: str | Path, max_bytes: int = 256 * 2**20) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self._open: set[str] = set()
        self._lock = threading.Lock()

    def file(self, name: str) -> Path:
        """The file of a name.

        Raises:
            UserError: unless the name consists of letters, digits, ``-`` and ``_`` and cannot lead out of the folder.
        """
        if not _NAME.match(name):
            raise UserError(
                "a recording's name is 1 to 64 letters, digits, '-' and '_', and begins with a letter or digit"
            )
        return self.path / f"{name}{_SUFFIX}"

    def start(self, name: str, env: GridWorldConfig, seed: int) -> "Recording":
        """A new recording; its file appears with its first episode.

        Raises:
            UserError: if the name is not allowed or taken.
        """
        if os.path.lexists(self.file(name)):
            raise UserError(f"there is a file '{name}' already, and nothing is overwritten; choose another name")
        self._take(name)
        return Recording(self, name, env, seed, None)

    def resume(self, name: str) -> "Recording":
        """Goes on with a recording that was made here, for example before the browser died.

        Raises:
            UserError: if there is none, it is damaged, or it was not recorded here.
        """
        path = self.file(name)
        if path.is_symlink() or not path.is_file():
            raise UserError(f"there is no recording '{name}' to go on with")
        self._take(name)
        try:
            stamp = _stamp(path)
            trajectories, metadata = load_demonstrations(path)
            env = _environment(metadata)
            if metadata.get("source") != SOURCE or env is None:
                raise UserError(f"'{name}' was not recorded here; choose a new name")
            check_fits(path, trajectories, env)
        except BaseException:
            self.release(name)
            raise
        recording = Recording(self, name, env, int(metadata.get("seed", 0)), stamp)
        recording.episodes = [trajectories.select(torch.tensor([e])) for e in range(trajectories.num_episodes)]
        recording.kept = len(recording.episodes)
        return recording

    def release(self, name: str) -> None:
        """Lets others record under the name again."""
        with self._lock:
            self._open.discard(name)

    def names(self) -> list[str]:
        """Recordings made here, the newest first; those of other programs are not listed."""
        try:
            files = [path for path in self.path.glob(f"*{_SUFFIX}") if _NAME.match(path.name.removesuffix(_SUFFIX))]
            files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        except OSError:
            return []
        return [path.name.removesuffix(_SUFFIX) for path in files[: 4 * _LISTED] if _is_recording(path)][:_LISTED]

    def _take(self, name: str) -> None:
        with self._lock:
            if name in self._open:
                raise UserError(f"'{name}' is being recorded in another window; stop it there first")
            self._open.add(name)


class Recording:
    """One recording; built by :class:`RecordingFolder`.

    Attributes:
        name: of the file, without its ending.
        env: the one game that all episodes are of.
        episodes: one :class:`Trajectories` each.
        kept: episodes that were there when it was resumed; discarding leaves them.
    """

    def __init__(
        self, folder: RecordingFolder, name: str, env: GridWorldConfig, seed: int, stamp: tuple[int, ...] | None
    ) -> None:
        self.name, self.env, self.seed = name, env, seed
        self.episodes: list[Trajectories] = []
        self.kept = 0
        self._folder = folder
        self._path = folder.file(name)
        self._stamp = stamp
        self._closed = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def num_transitions(self) -> int:
        """Moves in all episodes."""
        return sum(episode.num_transitions for episode in self.episodes)

    def add(self, episode: Trajectories) -> None:
        """Appends a finished episode; it is on the disk when this returns.

        Raises:
            UserError: if the recording is full or the file cannot be written; the episode is then not part of it.
        """
        size = sum(each.observations.numel() for each in (*self.episodes, episode))
        if size > self._folder.max_bytes:
            raise UserError(f"the recording '{self.name}' is full; stop it and go on under another name")
        self._write([*self.episodes, episode])

    def undo(self) -> None:
        """Takes the last episode away again; with the only one the file goes as well."""
        if not self.episodes:
            raise UserError(f"there is no episode in '{self.name}' to take away")
        self._write(self.episodes[:-1])
        self.kept = min(self.kept, len(self.episodes))

    def discard(self) -> None:
        """Takes away all that was recorded since it was started or resumed, and closes it."""
        if len(self.episodes) > self.kept:
            self._write(self.episodes[: self.kept])
        self.close()

    def close(self) -> None:
        """Ends the recording; its episodes are on the disk already."""
        if not self._closed:
            self._closed = True
            self._folder.release(self.name)

    def _write(self, episodes: list[Trajectories]) -> None:
        if self._closed:
            raise UserError(f"the recording '{self.name}' has ended")
        present = _stamp(self._path)
        if present != self._stamp:
            what = "changed" if present else "removed"
            if self._stamp is None:
                what = "made"
            raise UserError(f"'{self.name}' was {what} by another program; stop and go on under another name")
        if not episodes:
            self._path.unlink(missing_ok=True)
        elif self._stamp is None:
            self._write_new(episodes)
        else:
            self._save(self._path, episodes)
        self.episodes = episodes
        self._stamp = _stamp(self._path)

    def _write_new(self, episodes: list[Trajectories]) -> None:
        """Gives the first file its name only if nobody has taken that in the meantime."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        self._save(temporary, episodes)
        try:
            os.link(temporary, self._path)
        except FileExistsError:
            raise UserError(f"there is a file '{self.name}' already, and nothing is overwritten") from None
        except OSError:  # a file system without links
            if os.path.lexists(self._path):
                raise UserError(f"there is a file '{self.name}' already, and nothing is overwritten") from None
            os.replace(temporary, self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def _save(self, path: Path, episodes: list[Trajectories]) -> None:
        recipe = {"recorded_with": "iqlightning play", "split": "train"}
        metadata = {"env": self.env.to_dict(), "seed": self.seed, "source": SOURCE, "recipe": recipe}
        save_demonstrations(path, Trajectories.concatenate(episodes), metadata)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells one state of a file from another; None if there is nothing."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _environment(metadata: dict[str, Any]) -> GridWorldConfig | None:
    env = env_config_from_dict(metadata["env"]) if isinstance(metadata.get("env"), dict) else None
    return env if isinstance(env, GridWorldConfig) else None


def _is_recording(path: Path) -> bool:
    try:
        return not path.is_symlink() and read_metadata(path).get("source") == SOURCE
    except UserError:
        return False
