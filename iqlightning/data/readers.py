"""Recordings of any format, by the name of the file; a further format is one reader and one line here."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from iqlightning.data.archives import read_hdf5, read_npz
from iqlightning.data.minari import read_minari
from iqlightning.data.recording import Recording
from iqlightning.data.tables import read_csv, read_parquet
from iqlightning.errors import UserError
from iqlightning.files import path_of
from iqlightning.types import EnvConfig

__all__ = ["FORMATS", "read_recording"]

_READERS: dict[str, Callable[[str, Mapping[str, str] | None], Recording]] = {
    ".npz": read_npz,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
}

#: What can be read beside demonstrations files.
FORMATS = (*_READERS, "a Minari dataset")

_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def read_recording(what: str, env: EnvConfig | None = None, names: Mapping[str, str] | None = None) -> Recording | None:
    """What somebody else recorded; None if the name is not that of another format, but of a demonstrations file.

    Args:
        what: a file of one of :data:`FORMATS`, or the identifier or folder of a Minari dataset.
        env: the environment it is of, where the user names one.
        names: of columns or arrays.

    Raises:
        UserError: if it cannot be read or does not make a recording.
    """
    what = str(path_of(what)) if what.startswith("~") else what
    suffix = Path(what).suffix.lower()
    if Path(what).exists() and not (Path(what).is_file() or Path(what).is_dir()):
        raise UserError(f"'{what}' is neither a file nor a folder: a device or a pipe may have no end")
    if suffix in _READERS:
        return _READERS[suffix](what, names)
    if suffix in _PICKLED:
        raise UserError(
            f"'{what}' may hold Python objects, which can run anything when they are read, and so it is not read; "
            "where it was made, hand its arrays to iqlightning.data.from_arrays"
        )
    if names:
        raise UserError(
            f"names of columns or arrays are for {', '.join(_READERS)}, and '{what}' is none: leave them out"
        )
    if Path(what).is_dir():
        return read_minari(what if what.startswith(("/", ".")) else f"./{what}", env)
    if not Path(what).is_file() and re.search(r"-v\d+$", what):
        return read_minari(what, env)
    return None
