"""Chooses the command, and turns what goes wrong into one sentence and an exit status.

Exit status: 0 done, 2 a mistake the user can mend, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP, 1 a bug (with
its traceback) or another process of the run lost.
"""

import contextlib
import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from iqlightning.cli.memory_trouble import memory_trouble
from iqlightning.cli.printable import printable
from iqlightning.cli.warning_filters import filter_warnings
from iqlightning.errors import LostProcessError, UserError, unknown
from iqlightning.interruption import ENDING, Interrupted, leave_terminal, takes

__all__ = ["COMMANDS", "ENVIRONMENT_VARIABLES", "TRUST_HELP", "main"]


class Command(NamedTuple):
    """A command: its module has ``run(arguments, command)``."""

    module: str
    summary: str


COMMANDS = {
    "init": Command("init", "write a configuration for an environment: python -m iqlightning init my_task --gym ID"),
    "fit": Command("fit", "train: python -m iqlightning fit --config configs/cnn_iq.yaml"),
    "validate": Command("fit", "play the validation grids with a checkpoint, and score held-out demonstrations"),
    "test": Command("fit", "play the test grids with a checkpoint"),
    "predict": Command("fit", "actions of a checkpoint for the data's observations"),
    "evaluate": Command("evaluate", "play unseen episodes with a checkpoint alone; a table, and --json FILE"),
    "collect": Command("collect", "make a demonstrations file: expert, checkpoint or random policy, other formats"),
    "data": Command("data", "what is in a demonstrations file, as figures and as a picture"),
    "play": Command("play", "a local web page: play, record demonstrations, watch checkpoints"),
    "export": Command("export", "the policy of a checkpoint as portable files with a model card"),
    "bench": Command("bench", "benchmarks: python -m iqlightning bench speed"),
    "report": Command("report", "one HTML file about a set of runs: curves, tables, maps, failures"),
}

#: What ``--trust`` says, in every command.
TRUST_HELP = (
    "a package of your own, which is imported: environments that it registers can be made, files may name its classes, "
    "its functions may run; may be given several times, or set IQLIGHTNING_TRUST=PACKAGE,..."
)

#: Name to meaning; any other variable that starts with IQLIGHTNING_ is a mistake.
ENVIRONMENT_VARIABLES = {
    "IQLIGHTNING_TRUST": "comma-separated packages, as of --trust",
    "IQLIGHTNING_RUN_FOLDER": "set by the first process of a run for the processes that it starts",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the return value is the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    previous = _exit_on_signals()
    had_met = _processes_have_met()
    try:
        status = _run(arguments)
        if not had_met:
            _part_processes()
        return status
    except UserError as error:
        return _complain(str(error), 2)
    except Interrupted as interruption:
        return _complain(str(interruption), interruption.status)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except SystemExit as request:
        # Lightning answers Ctrl-C with status 1
        if isinstance(request.__context__, KeyboardInterrupt):
            return _complain("interrupted", 128 + signal.SIGINT)
        raise
    except (ImportError, RuntimeError, MemoryError, ValueError) as error:
        if no_memory := memory_trouble(error):
            return _complain(no_memory, 2)
        if mismatch := _torch_mismatch(error):
            return _complain(mismatch, 2)
        if _lost_another_process(error):
            sentence = "another process of this run has ended, and so does this one; continue with --ckpt_path last"
            return _complain(sentence, 1)
        raise
    except BrokenPipeError:
        # the reader of our output went away; keep Python from complaining when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return _complain(f"a name is too long for a file: '{error.filename!s:.60}...'", 2)
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"iqlightning {version('iqlightning')}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    for variable in os.environ:
        if variable.startswith("IQLIGHTNING_") and variable not in ENVIRONMENT_VARIABLES:
            raise unknown("environment variable", variable, ENVIRONMENT_VARIABLES)
    filter_warnings()
    importlib.import_module(f"iqlightning.cli.{COMMANDS[name].module}").run(_with_homes(rest), name)
    return 0


def _with_homes(words: Sequence[str]) -> list[str]:
    """The words with the home folder for a ``~`` that begins a path: shells leave it where ``--name=`` is before it."""
    from iqlightning.cli.home import expanded_home

    options = (word.partition("=") if word.startswith("-") else ("", "", word) for word in words)
    return [f"{option}{equals}{expanded_home(value)}" for option, equals, value in options]


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{command.summary}" for name, command in COMMANDS.items())
    return (
        "iqlightning: inverse soft-Q imitation learning and DQN\n\n"
        "usage: python -m iqlightning COMMAND [options]\n\n"
        f"{commands}\n\n"
        "python -m iqlightning COMMAND --help lists the options of a command.\n\n"
        f"--trust PACKAGE, wherever a command may meet your own code: {TRUST_HELP}."
    )


def _complain(sentence: str, status: int) -> int:
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or "0"
    # before processes have met, and when they are stopped, all say the same
    if rank == "0" or (status in (1, 2) and _processes_have_met()):
        who = "iqlightning" if rank == "0" else f"iqlightning (process {rank})"
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"{who}: {printable(' '.join(sentence.split()))}", file=sys.stderr)
    return status


def _processes_have_met() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def _part_processes() -> None:
    """Ends what this command began with other processes.

    Left to the end of Python, the threads of a backend give back tensors while the interpreter goes, and the process
    aborts now and then although its work is done. After a failure it is left: there a thread may wait for another
    process.
    """
    if _processes_have_met():
        sys.modules["torch.distributed"].destroy_process_group()


def _lost_another_process(error: BaseException) -> bool:
    """Whether it is what is said when another process is gone, by us or by the libraries between processes."""
    if isinstance(error, LostProcessError):
        return True
    signs = ("closed by peer", "reset by peer", "broken pipe", "remote process exited", "communicator was aborted")
    return _processes_have_met() and any(sign in str(error).lower() for sign in signs)


def _exit_on_signals() -> dict[int, Any]:
    """Makes SIGTERM and SIGHUP unwind the program, so that what is half done is cleaned up; what was there before."""

    def leave(signum: int, frame: FrameType | None) -> NoReturn:
        leave_terminal(signum)
        raise Interrupted(signum, f"stopped by {signal.Signals(signum).name}")

    try:
        return {each: signal.signal(each, leave) for each in ENDING if takes(each)}
    except ValueError:  # not in the main thread: someone else handles signals
        return {}


def _torch_mismatch(error: BaseException) -> str | None:
    """What to say if torch and torchvision do not belong together; None if the error is about something else."""
    text = str(error)
    signs = ("torchvision::nms", "torchvision.ops", "torchvision/_C", "torchvision has no attribute", "libtorch")
    if not any(sign in text for sign in signs):
        return None
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"no {name}"

    return (
        f"{installed('torch')} and {installed('torchvision')} do not belong together; install both at once from the "
        "same index: pip install --force-reinstall torch torchvision (with one --index-url for both if you want a "
        "build for the CPU or a certain CUDA)"
    )
