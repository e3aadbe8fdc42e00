"""Recordings in archives of arrays: NumPy's ``.npz``, and HDF5 as of D4RL (the optional extra ``hdf5``).

Nothing in them is unpickled. Of an HDF5 file only arrays that lie in it are read: links and virtual arrays can point to
any other file.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from iqlightning.data.named_columns import PARTS, recording_of_columns
from iqlightning.data.recording import Recording
from iqlightning.errors import UserError

__all__ = ["read_hdf5", "read_npz"]

_D4RL = {"terminated": ("terminals", "terminated"), "truncated": ("timeouts", "truncated")}


def read_npz(path: str | Path, names: Mapping[str, str] | None = None) -> Recording:
    """The arrays of a NumPy archive, named as the arguments of :func:`~iqlightning.data.from_arrays`.

    Args:
        path: the file.
        names: other names, as in :func:`~iqlightning.data.named_columns.recording_of_columns`.

    Raises:
        UserError: if the file is missing or no such archive; if its arrays do not make a recording.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            wanted = {*PARTS, *(names or {}).values()}
            # whatever else somebody keeps beside them need not be readable
            arrays = {each: archive[each] if each in wanted else np.empty(0) for each in archive.files}
    except FileNotFoundError as error:
        raise UserError(f"there is no file '{path}'") from error
    except (OSError, ValueError, BadZipFile, AttributeError, EOFError, zlib.error, RuntimeError) as error:
        raise UserError(f"'{path}' is not an archive of NumPy arrays (.npz, without Python objects)") from error
    return recording_of_columns(str(path), arrays, {}, names, "array")


def read_hdf5(path: str | Path, names: Mapping[str, str] | None = None) -> Recording:
    """The arrays at the root of an HDF5 file: ``observations``, ``actions``, ``rewards``, ``terminals``, ``timeouts``.

    Args:
        path: the file.
        names: other names, as in :func:`~iqlightning.data.named_columns.recording_of_columns`.

    Raises:
        UserError: as :func:`read_npz`; if h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"HDF5 files need the extra hdf5: pip install 'iqlightning[hdf5]' ({error})") from error
    if not Path(path).is_file():
        raise UserError(f"there is no file '{path}'")
    try:
        with h5py.File(path, "r") as file:
            arrays = {}
            for name in file:
                link = file.get(name, getlink=True)
                stored = file[name] if isinstance(link, h5py.HardLink) else None
                if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "biuf" or not stored.ndim:
                    continue  # groups of what else was kept, words, single numbers
                if stored.is_virtual or stored.external:
                    raise UserError(f"'{path}' keeps its {name} in another file, which is not read")
                arrays[name] = stored[()]
            if not arrays and any(str(name).startswith("episode_") for name in file):
                raise UserError(f"'{path}' is the inside of a Minari dataset: name the dataset, or its folder")
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"'{path}' is not an HDF5 file that can be read: {error}") from error
    return recording_of_columns(str(path), arrays, _D4RL, names, "array")
