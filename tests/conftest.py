import signal
import textwrap
from pathlib import Path

import pytest
from small_runs import TINY

from iqlightning.cli.main import main


def pytest_runtest_setup() -> None:
    """Commands under test react to signals as from a terminal, even where the tests run under nohup or behind ``&``."""
    for number, usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


class Workplace:
    """An empty folder to run commands in, with a small configuration."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capfd = capfd
        self.write("tiny.yaml", TINY)

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(textwrap.dedent(text))
        return name

    def run(self, *arguments: str) -> int:
        """The exit status of a command."""
        try:
            return main([str(argument) for argument in arguments])
        except SystemExit as request:
            return int(request.code or 0)

    def fit(self, *arguments: str, config: str = "tiny.yaml") -> Path:
        """Runs ``fit`` to its end and returns the run's folder."""
        before = set(self.folder.glob("logs/*/version_*"))
        assert self.run("fit", "--config", config, *arguments) == 0, self.capfd.readouterr().err
        (folder,) = set(self.folder.glob("logs/*/version_*")) - before
        return folder

    def refused(self, *arguments: str) -> str:
        """The one sentence with which a command is refused."""
        self.capfd.readouterr()
        assert self.run(*arguments) == 2
        err = self.capfd.readouterr().err.strip()
        assert err.startswith("iqlightning: ")
        assert len(err.splitlines()) == 1
        assert "Traceback" not in err
        return err

    def shown(self) -> str:
        captured = self.capfd.readouterr()
        return captured.out + captured.err


@pytest.fixture
def onnx():
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    return pytest.importorskip("onnx")


@pytest.fixture
def workplace(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for variable in ("IQLIGHTNING_TRUST", "IQLIGHTNING_RUN_FOLDER"):
        monkeypatch.delenv(variable, raising=False)
    return Workplace(tmp_path, capfd)
