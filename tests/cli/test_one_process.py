import subprocess
import sys

import pytest
from filelock import FileLock

from iqlightning.cli.one_process import one_process
from iqlightning.errors import UserError


def test_a_second_process_is_told_at_once(tmp_path):
    folder = tmp_path / "a/b"
    with one_process(folder):
        lock = "import sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire(timeout=0)"
        second = subprocess.run([sys.executable, "-c", lock, str(folder / ".lock")], capture_output=True, text=True)
        assert "Timeout" in second.stderr
    with FileLock(folder / ".lock"), pytest.raises(UserError, match=r"another process works in .*b'; wait"):
        one_process(folder).__enter__()
    with one_process(folder):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match=r"cannot work in the folder .*a/b': Not a directory"):
        one_process(tmp_path / "a/b").__enter__()
