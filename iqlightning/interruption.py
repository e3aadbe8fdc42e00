"""How a run ends that was asked to stop: the signals, and the exception."""

import contextlib
import os
import signal
import stat

__all__ = ["ENDING", "Interrupted", "leave_terminal", "takes"]

#: Signals that ask a program to end, beside Ctrl-C; the second says that its terminal is gone.
ENDING = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


def takes(signum: int) -> bool:
    """Whether a signal is to be answered: ``nohup`` has a program ignore that its terminal is gone."""
    return signal.getsignal(signum) is not signal.SIG_IGN


def leave_terminal(signum: int) -> None:
    """After SIGHUP, sends to nowhere what is still said: to write to a terminal that is gone is an error."""
    if signal.Signals(signum).name != "SIGHUP":
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(each).st_mode):  # a file or a pipe is still there
                os.dup2(nowhere, each)
    os.close(nowhere)


class Interrupted(BaseException):
    """A signal asked the program to stop; not an :class:`Exception`, so that nothing swallows it on its way out."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status by which shells recognise the signal."""
        return 128 + self.signum
