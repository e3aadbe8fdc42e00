import importlib
import os
import signal
import subprocess
import sys

import pytest

from iqlightning.cli import main as cli
from iqlightning.errors import UserError
from iqlightning.interruption import Interrupted


def run_with(monkeypatch, failure):
    class Module:
        @staticmethod
        def run(arguments, command):
            raise failure

    monkeypatch.setattr(importlib, "import_module", lambda name: Module)
    return cli.main(["fit"])


def test_help_lists_the_commands_and_imports_nothing_heavy():
    program = (
        "import sys; from iqlightning.cli.main import main; assert main(['--help']) == 0; "
        "assert not {'torch', 'lightning', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in cli.COMMANDS:
        assert f"\n  {command} " in done.stdout


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "iqlightning", "fitt"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("iqlightning: there is no command 'fitt'; did you mean 'fit'?")


def test_without_a_command_the_help_is_shown_and_the_status_says_so(capsys):
    assert cli.main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("command", [*cli.COMMANDS, "bench sweep", "bench speed"])
def test_every_command_has_its_help_and_says_how_own_code_is_trusted(workplace, command):
    assert workplace.run(*command.split(), "--help") == 0
    without = command in ("bench", "bench speed")  # which run what comes with the package
    assert ("--trust PACKAGE" in workplace.shown()) != without


def test_a_misspelt_variable_is_refused(workplace, monkeypatch):
    monkeypatch.setenv("IQLIGHTNING_TRUTS", "x")
    assert "did you mean 'IQLIGHTNING_TRUST'" in workplace.refused("fit", "--help")


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Interrupted(signal.SIGTERM, "stopped after update 3"), 143, "stopped after update 3"),
        (
            RuntimeError("operator torchvision::nms does not exist"),
            2,
            "pip install --force-reinstall torch torchvision",
        ),
        (ImportError("libtorch_cpu.so: undefined symbol: _ZN3c10"), 2, "do not belong together"),
    ],
)
def test_each_way_to_end_has_its_status(monkeypatch, capsys, failure, status, said):
    assert run_with(monkeypatch, failure) == status
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_lightnings_answer_to_ctrl_c_becomes_the_usual_status(monkeypatch):
    request = SystemExit(1)
    request.__context__ = KeyboardInterrupt()
    assert run_with(monkeypatch, request) == 130


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), ImportError("no module named x"), ValueError("a bug")])
def test_a_bug_keeps_its_traceback(monkeypatch, failure):
    with pytest.raises(type(failure)):
        run_with(monkeypatch, failure)


def test_sigterm_unwinds_with_its_status_and_the_handler_is_given_back(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    class Module:
        @staticmethod
        def run(arguments, command):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    monkeypatch.setattr(importlib, "import_module", lambda name: Module)
    assert cli.main(["fit"]) == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_mistake_of_one_process_alone_is_heard_once_they_have_met(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert run_with(monkeypatch, UserError("the disk of this machine is full")) == 2
    assert capsys.readouterr().err == ""  # all processes say the same of a configuration
    monkeypatch.setattr(cli, "_processes_have_met", lambda: True)
    assert run_with(monkeypatch, UserError("the disk of this machine is full")) == 2
    assert capsys.readouterr().err == "iqlightning (process 1): the disk of this machine is full\n"
    assert run_with(monkeypatch, Interrupted(signal.SIGTERM, "stopped")) == 143
    assert capsys.readouterr().err == ""


def test_a_process_that_loses_another_says_so(monkeypatch, capsys):
    lost = RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:1234")
    with pytest.raises(RuntimeError, match="closed by peer"):
        run_with(monkeypatch, lost)
    monkeypatch.setattr(cli, "_processes_have_met", lambda: True)
    assert run_with(monkeypatch, lost) == 1
    assert "another process of this run has ended" in capsys.readouterr().err


def test_what_a_command_began_with_other_processes_ends_with_it(monkeypatch, tmp_path):
    from torch import distributed

    def meet():
        distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'met'}", rank=0, world_size=1)

    class Module:
        @staticmethod
        def run(arguments, command):
            if not distributed.is_initialized():
                meet()

    monkeypatch.setattr(importlib, "import_module", lambda name: Module)
    assert cli.main(["fit"]) == 0
    assert not distributed.is_initialized()
    meet()
    try:
        assert cli.main(["fit"]) == 0
        assert distributed.is_initialized()  # that of the script around it stays
    finally:
        distributed.destroy_process_group()
