import os
import resource
import stat
import subprocess
import sys
import threading

import pytest
import torch

from iqlightning.checkpoint_files import read_checkpoint, write_checkpoint
from iqlightning.errors import UserError
from iqlightning.files import check_output, mark_of, path_of, read_text, replacing, write_atomically
from iqlightning.interruption import Interrupted


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    for content in (b"first", b"second"):  # it dangles at first
        write_atomically(link, content)
        assert link.is_symlink()
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert os.listdir(tmp_path / "there") == ["file"]


def test_a_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"content")
    reader.join(10)
    assert read == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_device_stays_a_device():
    with pytest.raises(UserError, match=r"cannot write the report '/dev/full': No space left"):
        write_atomically("/dev/full", b"x" * 100_000, "report")
    write_atomically("/dev/null", b"x")
    assert all(stat.S_ISCHR(os.stat(f"/dev/{name}").st_mode) for name in ("full", "null"))


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_is_written_to(tmp_path, name):
    code = f"from iqlightning.files import write_atomically; write_atomically({name!r}, b'content')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=True).stdout
    assert said == b"content"
    assert os.listdir(tmp_path) == []


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_atomically("~/folder/file", b"content")
    assert (tmp_path / "folder" / "file").read_bytes() == b"content"
    assert path_of("~/folder") == tmp_path / "folder"
    assert path_of("folder~") == path_of("folder~")


def test_a_file_keeps_its_permissions(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(0o640)
    write_atomically(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_files_of_others_are_not_replaced_unless_forced(tmp_path):
    file, mark = tmp_path / "file", mark_of("evaluate")
    check_output(file, "report", mark=mark)
    file.write_text("somebody's")
    with pytest.raises(UserError, match=r"'.*file' exists already .*--force"):
        check_output(file, "report", mark=mark)
    check_output(file, "report", mark=mark, force=True)
    for content in (f'{{"generator": "{mark}"}}' + " " * 200_000, " " * 200_000 + mark, ""):
        file.write_text(content)
        check_output(file, "report", mark=mark)
    assert os.listdir(tmp_path) == ["file"]


def test_folders_are_checked_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, problem in ((tmp_path, "it is a folder"), (tmp_path / "file" / "x" / "y", "is not a folder")):
        with pytest.raises(UserError, match=problem):
            check_output(path, "report")
    with pytest.raises(UserError, match="cannot write the report"):
        check_output("a\0b", "report")
    check_output(tmp_path / "new" / "deep" / "file", "report")
    assert not (tmp_path / "new").exists()


def test_what_a_killed_program_left_is_removed_and_what_is_being_written_is_not(tmp_path):
    code = (
        "import os, signal, sys\nfrom iqlightning.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n    file.write(b'half')\n"
        "    file.flush()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "dead")], check=False)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".dead.")
    with replacing(tmp_path / "living") as file:
        assert left not in os.listdir(tmp_path)
        other = "import sys; from iqlightning.files import write_atomically; write_atomically(sys.argv[1], b'x')"
        subprocess.run([sys.executable, "-c", other, str(tmp_path / "other")], check=True)
        file.write(b"content")
    assert sorted(os.listdir(tmp_path)) == ["living", "other"]


def test_a_text_is_read_up_to_a_size(tmp_path):
    file = tmp_path / "file"
    file.write_text("x" * 5000)
    assert read_text(file, 5000) == "x" * 5000
    with pytest.raises(UserError, match="is larger than 4 KiB"):
        read_text(file, 4999)
    with pytest.raises(UserError, match="not a regular file"):
        read_text("/dev/zero", 5000)


class TestCheckpoints:
    def test_a_signal_and_a_full_disk_end_the_writing_as_what_they_are(self, tmp_path, monkeypatch):
        path = tmp_path / "it.ckpt"
        write_checkpoint({"a": torch.zeros(3)}, path)

        def act(error):
            def write(self, content):
                raise error

            return write

        with monkeypatch.context() as patch:
            patch.setattr("iqlightning.checkpoint_files._Sealed.write", act(Interrupted(15, "stopped")))
            with pytest.raises(Interrupted):
                write_checkpoint({"a": torch.ones(3)}, path)
        if os.path.exists("/dev/full"):
            with pytest.raises(UserError, match="No space left"):
                write_checkpoint({"a": torch.ones(3)}, "/dev/full")
        assert read_checkpoint(path)["a"].sum() == 0
        assert os.listdir(tmp_path) == ["it.ckpt"]

    def test_saving_streams(self, tmp_path):
        weights = torch.ones(50 << 20, dtype=torch.float32)  # 200 MB
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_checkpoint({"weights": weights}, tmp_path / "it.ckpt")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10  # KiB
