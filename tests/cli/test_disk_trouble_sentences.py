import errno
import os
import threading
from typing import Any

import pytest

from iqlightning.cli.disk_trouble import disk_trouble, heard_once


def error(code: int, name: Any = None) -> OSError:
    return OSError(code, os.strerror(code), name)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_no_more_is_said_with_what_was_written(tmp_path, code):
    assert str(disk_trouble(error(code, b"events"), tmp_path)) == f"cannot write the file 'events': {os.strerror(code)}"
    assert f"cannot write to the folder of the run '{tmp_path}'" in str(disk_trouble(error(code), tmp_path))


def test_the_checkpoint_to_continue_from_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    sentence = str(disk_trouble(error(errno.ENOSPC), tmp_path))
    assert sentence.endswith(f"continue with --ckpt_path {tmp_path / 'checkpoints' / 'last.ckpt'}")


def test_a_missing_file_is_the_disks_fault_in_the_folder_of_the_run_only(tmp_path):
    assert disk_trouble(error(errno.ENOENT, str(tmp_path / "metrics.csv")), tmp_path) is not None
    assert disk_trouble(error(errno.ENOENT, "/somewhere/else"), tmp_path) is None
    assert disk_trouble(error(errno.ENOENT, str(tmp_path / "metrics.csv")), None) is None
    assert disk_trouble(error(errno.ECONNRESET), tmp_path) is None


def test_what_a_thread_hands_on_is_not_printed_by_it_and_what_it_does_not_is(capsys, monkeypatch):
    # pytest's own hook would turn what is printed into a warning
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)

    class Writer(threading.Thread):
        def __init__(self, hands_on: bool) -> None:
            super().__init__()
            self.exception: BaseException | None = None
            self.hands_on = hands_on

        def run(self) -> None:
            problem = error(errno.ENOSPC)
            self.exception = problem if self.hands_on else None
            raise problem

    before = threading.excepthook
    for hands_on in (True, False):
        with heard_once():
            writer = Writer(hands_on)
            writer.start()
            writer.join()
        assert ("No space left" in capsys.readouterr().err) != hands_on
        assert threading.excepthook is before
