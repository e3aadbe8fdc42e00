"""Recordings: what a person plays, kept as demonstrations files that ``fit`` takes as they are.

The file is the recording. It is written anew, beside itself and renamed, whenever an episode ends: whatever dies (the
browser, the server, the machine), the finished episodes are on the disk and nothing has to be put together again. On a
full disk they wait in memory.
"""

import contextlib
import errno
import os
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from iqlightning.data.demonstrations import (
    ForeignFileError,
    check_fits,
    load_demonstrations,
    read_metadata,
    save_demonstrations,
)
from iqlightning.errors import CannotWriteError, UserError
from iqlightning.files import path_of, remove_abandoned
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

    A recording is locked while it is being recorded, so that no other program records under its name.

    Args:
        path: the folder; it is made when the first recording is.
        max_bytes: how large one recording can become.
    """

    def __init__(self, path: str | Path, max_bytes: int = 256 * 2**20) -> None:
        self.path = path_of(path)
        self.max_bytes = max_bytes
        self._open: dict[str, Recording | None] = {}
        self._lock = threading.Lock()
        self._headers: dict[Path, tuple[Any, bool | str]] = {}

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
        with self._taken(name) as lock:
            return self._opened(Recording(self, name, env, seed, None, lock))

    def resume(self, name: str) -> "Recording":
        """Goes on with a recording that was made here, for example before the browser died.

        Raises:
            UserError: if there is none, it is damaged, or it was not recorded here.
        """
        path = self.file(name)
        left = self._open.get(name)
        if left is not None and left.left:  # by a page that is gone, with episodes that wait for room on the disk
            left.left = False
            return left
        if path.is_symlink() or not path.is_file():
            raise UserError(f"there is no recording '{name}' to go on with")
        with self._taken(name) as lock:
            stamp = _stamp(path)
            trajectories, metadata = load_demonstrations(path)
            env, seed = _origin(name, metadata)
            check_fits(path, trajectories, env)
            recording = Recording(self, name, env, seed, stamp, lock)
            recording.episodes = [trajectories.select(torch.tensor([e])) for e in range(trajectories.num_episodes)]
            recording.kept = recording.written = len(recording.episodes)
            return self._opened(recording)

    def release(self, name: str) -> None:
        """Lets others record under the name again."""
        with self._lock:
            self._open.pop(name, None)

    def names(self) -> list[str]:
        """Recordings made here, the newest first; those of other programs are not listed."""
        return [path.name.removesuffix(_SUFFIX) for path in self._newest_first() if self._header(path) is True][
            :_LISTED
        ]

    def troubles(self) -> list[str]:
        """A sentence for each recording that is left out of :meth:`names` because its file is strange."""
        return [text for path in self._newest_first() if isinstance(text := self._header(path), str)][:_LISTED]

    def write_waiting(self) -> list[str]:
        """Writes the episodes that wait for room on the disk; a sentence for each recording that has to wait longer."""
        troubles = []
        for recording in [each for each in self._open.values() if each is not None]:
            try:
                recording.write_waiting()
                if recording.left:
                    recording.close()
            except UserError as error:
                many = recording.waiting
                what = "1 episode waits" if many == 1 else f"{many} episodes wait"
                troubles.append(f"{what} in memory to be written: {error}")
        return troubles

    def _newest_first(self) -> list[Path]:
        dated = []
        with contextlib.suppress(OSError), os.scandir(self.path) as entries:
            for entry in entries:
                name = entry.name.removesuffix(_SUFFIX)
                if name == entry.name or not _NAME.match(name):
                    continue
                with contextlib.suppress(OSError):  # it went away
                    if entry.is_file(follow_symlinks=False):
                        dated.append((entry.stat(follow_symlinks=False).st_mtime, self.path / entry.name))
        return [path for _, path in sorted(dated, reverse=True)]

    def _header(self, path: Path) -> bool | str:
        """Whether a file is a recording, or what is wrong with it; read once as long as the file stays the same."""
        stamp = _stamp(path)
        if self._headers.get(path, (None,))[0] != stamp:
            self._headers[path] = (stamp, _is_recording(path))
        return self._headers[path][1]

    @contextlib.contextmanager
    def _taken(self, name: str) -> Iterator[FileLock | None]:
        """Takes a name for this window; it is free again if the block fails."""
        with self._lock:
            if name in self._open:
                raise UserError(f"'{name}' is being recorded in another window; stop it there first")
            self._open[name] = None
        lock = None
        try:
            lock = self._locked(name)
            yield lock
        except BaseException:
            _unlock(lock)
            self.release(name)
            raise

    def _locked(self, name: str) -> FileLock | None:
        """Takes the name among all programs, where the disk knows locks."""
        lock = FileLock(self.path / f".{name}{_SUFFIX}.lock", thread_local=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.path)
            lock.acquire(blocking=False)
        except Timeout:
            raise UserError(f"'{name}' is being recorded by another program; stop it there first") from None
        except NotImplementedError:
            return None
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                return None
            raise UserError(f"cannot record in '{self.path}': {error.strerror or error}") from error
        return lock

    def _opened(self, recording: "Recording") -> "Recording":
        self._open[recording.name] = recording
        return recording


class Recording:
    """One recording; built by :class:`RecordingFolder`.

    Attributes:
        name: of the file, without its ending.
        env: the one game that all episodes are of.
        episodes: one :class:`Trajectories` each.
        written: how many of them are on the disk; the others wait for room.
        kept: episodes that were there when it was resumed; discarding leaves them.
        left: whether its page is gone; it is closed when all is written.
    """

    def __init__(
        self,
        folder: RecordingFolder,
        name: str,
        env: GridWorldConfig,
        seed: int,
        stamp: tuple[int, ...] | None,
        lock: FileLock | None,
    ) -> None:
        self.name, self.env, self.seed = name, env, seed
        self.episodes: list[Trajectories] = []
        self.written = self.kept = 0
        self.left = False
        self._folder = folder
        self._path = folder.file(name)
        self._stamp = stamp
        self._locked = lock
        self._closed = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def num_transitions(self) -> int:
        """Moves in all episodes."""
        return sum(episode.num_transitions for episode in self.episodes)

    @property
    def waiting(self) -> int:
        """Episodes that are in memory alone."""
        return len(self.episodes) - self.written

    def add(self, episode: Trajectories) -> str | None:
        """Appends a finished episode.

        Returns:
            None if it is on the disk. If the disk does not take it, why; it is kept in memory until it does.

        Raises:
            UserError: if the recording is full or another program has changed its file; the episode is then not part
                of it.
        """
        size = sum(each.observations.numel() for each in (*self.episodes, episode))
        if size > self._folder.max_bytes:
            raise UserError(f"the recording '{self.name}' is full; stop it and go on under another name")
        episodes = [*self.episodes, episode]
        try:
            self._write(episodes)
        except CannotWriteError as error:
            self.episodes = episodes
            return f"this episode is kept in memory until it can be written: {error}"
        return None

    def undo(self) -> None:
        """Takes the last episode away again; with the only one the file goes as well."""
        if not self.episodes:
            raise UserError(f"there is no episode in '{self.name}' to take away")
        self._reduce(len(self.episodes) - 1)
        self.kept = min(self.kept, len(self.episodes))

    def discard(self) -> None:
        """Takes away all that was recorded since it was started or resumed, and closes it."""
        self._reduce(self.kept)
        self.close()

    def write_waiting(self) -> None:
        """Writes what is in memory alone.

        Raises:
            UserError: if the disk does not take it yet.
        """
        if self.waiting:
            self._write(self.episodes)

    def close(self) -> None:
        """Ends the recording, when all of it is on the disk.

        Raises:
            UserError: if the disk does not take what is not there yet; the recording goes on.
        """
        if self._closed:
            return
        self.write_waiting()
        self._closed = True
        _unlock(self._locked)
        self._folder.release(self.name)

    def leave(self) -> None:
        """Like :meth:`close`, but nobody is there to be told: what cannot be written stays with the folder."""
        try:
            self.close()
        except UserError:
            self.left = True

    def _reduce(self, count: int) -> None:
        if count < self.written:
            self._write(self.episodes[:count])
        self.episodes = self.episodes[:count]

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
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                raise CannotWriteError(f"cannot remove '{self._path}': {error.strerror or error}") from error
        elif self._stamp is None:
            self._write_new(episodes)
        else:
            self._save(self._path, episodes)
        self.episodes, self.written = episodes, len(episodes)
        self._stamp = _stamp(self._path)

    def _write_new(self, episodes: list[Trajectories]) -> None:
        """Gives the first file its name only if nobody has taken that in the meantime."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
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


def _unlock(lock: FileLock | None) -> None:
    if lock is not None:
        with contextlib.suppress(OSError):  # whoever has it open already finds it gone, and takes a new one
            Path(lock.lock_file).unlink()
        lock.release()


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells one state of a file from another; None if there is nothing."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _origin(name: str, metadata: dict[str, Any]) -> tuple[GridWorldConfig, int]:
    """The game and the seed of a recording that was made here.

    Raises:
        UserError: if the header says something else.
    """
    if metadata.get("source") != SOURCE:
        raise UserError(f"'{name}' was not recorded here; choose a new name")
    env, seed = None, metadata.get("seed", 0)
    with contextlib.suppress(UserError, TypeError, ValueError, AttributeError):
        env = env_config_from_dict(metadata["env"]) if isinstance(metadata.get("env"), dict) else None
    if not isinstance(env, GridWorldConfig):
        raise UserError(f"the recording '{name}' does not say which game it is of; it is left out")
    if type(seed) is not int:
        raise UserError(f"the seed of the recording '{name}' is no number; it is left out")
    return env, seed


def _is_recording(path: Path) -> bool | str:
    name = path.name.removesuffix(_SUFFIX)
    try:
        metadata = read_metadata(path)
        if metadata.get("source") != SOURCE:
            return False
        _origin(name, metadata)
    except ForeignFileError:
        return False
    except UserError as error:
        return str(error)
    return True
