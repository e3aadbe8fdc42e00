"""The exception with which a run ends that was asked to stop."""

__all__ = ["Interrupted"]


class Interrupted(BaseException):
    """A signal asked the program to stop; not an :class:`Exception`, so that nothing swallows it on its way out.

    Args:
        signum: which signal.
        message: what to tell the user.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status by which shells recognise the signal."""
        return 128 + self.signum
