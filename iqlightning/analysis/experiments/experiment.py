"""What an experiment is, and which there are."""

import argparse
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from iqlightning.analysis.experiments.trial import Outcome, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from iqlightning.analysis.experiments.table import Row
    from iqlightning.analysis.report.page import Section
    from iqlightning.types import Policy

__all__ = ["Experiment", "experiments"]


class Experiment(ABC):
    """Trials that belong together, and what is drawn of their outcomes.

    Attributes:
        name: of the benchmark on the command line and of the folder in ``logs``.
        summary: a line for the help.
        seeds: of training, unless others are asked for.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2)

    def add_options(self, options: argparse.ArgumentParser) -> None:  # noqa: B027 most have none
        """Adds options of its own; all experiments have ``--seeds`` and ``--quick``."""

    @abstractmethod
    def trials(self, options: argparse.Namespace) -> Iterable[Trial]:
        """All trials.

        Args:
            options: parsed; ``seeds`` is a list of seeds, ``quick`` asks for the least that shows that it runs,
                ``configs`` is the folder of the configurations that come with the package.
        """

    def references(self, options: argparse.Namespace) -> "Mapping[str, Mapping[str, Policy]]":
        """Evaluation to policies by their labels, to be played beside the random one and the environment's own."""
        return {}

    def measured(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Outcomes with figures of its own added, such as those read from runs; before tables and figures."""
        return outcomes

    def tables(self, rows: Sequence["Row"]) -> "Sequence[Table]":
        """Tables of its own, beside the one that every experiment has."""
        return ()

    def figures(self, outcomes: Sequence[Outcome]) -> dict[str, "Figure"]:
        """File name without extension to figure."""
        return {}

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Those whose runs the report shows one by one; none means that there is no report."""
        return ()

    def report_sections(self, outcomes: Sequence[Outcome]) -> "Sequence[Section]":
        """Sections of the report beside those that every report has."""
        return ()


def experiments(*packages: str) -> dict[str, Experiment]:
    """Name to experiment, found in the files of these packages."""
    members: dict[str, Experiment] = {}
    for package in map(import_module, packages):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for _, member in inspect.getmembers(import_module(module.name), inspect.isclass):
                if member.__module__ != module.name or inspect.isabstract(member):
                    continue
                if issubclass(member, Experiment):
                    members[member.name] = member()
    return dict(sorted(members.items()))
