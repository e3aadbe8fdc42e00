"""A run that is killed or stopped at any moment and then continued ends as the one that was left alone, bit for bit."""

import csv
import random
import re
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from counts import slow, slow_count
from faults import EDGES, signal_at_edge, signal_at_setup, signal_at_update
from forked_commands import Commands, Fault
from small_configurations import UPDATES, UPDATES_PER_EPOCH, differences, last_checkpoint, write_configurations

LEARNERS = ["iq", "online_iq", "dqn", "bc"]
KILLED = 128 + signal.SIGKILL
EPOCHS = UPDATES // UPDATES_PER_EPOCH


class Runs:
    """Runs of one configuration, and the one that is left alone."""

    def __init__(self, folder: Path, name: str) -> None:
        write_configurations(folder)
        self.commands = Commands(folder)
        self.folder, self.name = folder / "logs" / name, name
        self.arguments = ("fit", "--config", f"{name}.yaml", "--trainer.max_steps", UPDATES)
        self.commands.run(*self.arguments)
        self.whole = last_checkpoint(self.folder / "version_0")

    @property
    def versions(self) -> list[Path]:
        return sorted(self.folder.glob("version_*"), key=lambda path: int(path.name.split("_")[1]))

    def continuing(self) -> list[object]:
        """How the newest run is continued; nothing if it was killed before it saved anything."""
        saved = [path for run in self.versions[1:] if (path := run / "checkpoints" / "last.ckpt").exists()]
        return ["--ckpt_path", saved[-1]] if saved else []

    def forget(self) -> None:
        """Leaves only the run that was left alone."""
        for path in self.versions[1:]:
            path.rename(path.with_name(f"earlier-{time.monotonic_ns()}"))

    def check(self) -> None:
        """The newest run ends as the one that was left alone, and the figures on the way are the same."""
        ended = last_checkpoint(self.versions[-1])
        assert ended["global_step"] == UPDATES
        assert differences(ended, self.whole) == []
        expected, seen = figures(self.versions[0]), figures(self.versions[-1])
        assert seen == {where: expected[where] for where in seen}


def figures(run: Path) -> dict[tuple[str, str], str]:
    """Figures of updates and validations in ``metrics.csv`` by step and name."""
    if not (run / "metrics.csv").exists():  # there was nothing left to train
        return {}
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(row["step"], name): value for row in rows for name, value in row.items() if value}
    assert {name.partition("/")[0] for _, name in found} >= {"train", "val"}
    return found


def faults_in_a_row(numbers: random.Random, chain: int, signum: int = signal.SIGKILL) -> Iterator[Fault]:
    """Four signals at random updates and one at an epoch's edge, ever later in the run."""
    edge = list(EDGES)[chain % len(EDGES)]
    # nothing comes after the last epoch
    at_edge = UPDATES_PER_EPOCH * numbers.randint(1, EPOCHS - (edge == "next epoch"))
    others = numbers.sample([update for update in range(1, UPDATES) if update != at_edge], 4)
    for update in sorted([at_edge, *others]):
        if update == at_edge:
            yield partial(signal_at_edge, update, edge, signum)
        else:
            yield partial(signal_at_update, update, signum)


@pytest.mark.parametrize(("name", "chains"), [("dqn", 1), *slow(*((name, slow_count(5, 2)) for name in LEARNERS))])
def test_a_run_killed_at_many_updates_ends_as_the_one_left_alone(tmp_path, name, chains):
    runs, numbers, killed = Runs(tmp_path, name), random.Random(f"{chains} {name}"), 0
    for chain in range(chains):
        for fault in faults_in_a_row(numbers, chain + LEARNERS.index(name)):
            runs.commands.run(*runs.arguments, *runs.continuing(), fault=fault, status=KILLED)
            killed += 1
        runs.commands.run(*runs.arguments, *runs.continuing())
        runs.check()
        runs.forget()
    assert killed == 5 * chains


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iq", "dqn"])
def test_a_run_killed_by_the_clock_ends_as_the_one_left_alone(tmp_path, name):
    runs, numbers, killed = Runs(tmp_path, name), random.Random(name), 0
    while killed < slow_count(10, 4):
        started = time.monotonic()
        command = runs.commands.start(*runs.arguments, *runs.continuing())
        time.sleep(numbers.uniform(0.2, 1.5))
        command.send(signal.SIGKILL)
        if command.wait() == KILLED:
            killed += 1
        else:
            assert command.wait() == 0, (command.said, time.monotonic() - started)
            runs.check()
            runs.forget()
    runs.commands.run(*runs.arguments, *runs.continuing())
    runs.check()


@pytest.mark.parametrize(
    ("signum", "said"),
    [(signal.SIGTERM, "stopped by SIGTERM"), (signal.SIGHUP, "stopped by SIGHUP"), (signal.SIGINT, "interrupted")],
)
def test_a_run_that_is_stopped_before_its_first_update_leaves_no_folder(tmp_path, commands, signum, said):
    for _ in range(2):
        fault = partial(signal_at_setup, signum)
        assert said in commands.run("fit", "--config", "bc.yaml", fault=fault, status=128 + signum)
    assert not (tmp_path / "logs" / "bc").exists()


def stop(folder: Path, name: str, signum: int, moments: Sequence[Fault]) -> None:
    """Each stop has to leave a whole checkpoint of that moment and say so; the rest is as after a kill."""
    runs = Runs(folder, name)
    for fault in moments:
        said = runs.commands.run(*runs.arguments, *runs.continuing(), fault=fault, status=128 + signum)
        stopped = re.search(r"stopped after update (\d+); continue with the same command and --ckpt_path (\S+)", said)
        assert stopped, said
        saved = last_checkpoint(runs.versions[-1])
        assert saved["global_step"] == int(stopped[1])
        assert folder / stopped[2] == runs.versions[-1] / "checkpoints" / "last.ckpt"
        assert "Traceback" not in said
    runs.commands.run(*runs.arguments, *runs.continuing())
    runs.check()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_stopped_saves_first_and_ends_as_the_one_left_alone(tmp_path, signum):
    moments = [partial(signal_at_update, 17, signum), partial(signal_at_edge, 24, "in validation", signum)]
    stop(tmp_path, "dqn", signum, moments)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "signum"), [("dqn", signal.SIGTERM), ("iq", signal.SIGINT)])
def test_a_run_that_is_stopped_ten_times_ends_as_the_one_left_alone(tmp_path, name, signum):
    numbers = random.Random(f"{name} {signum}")
    moments: dict[int, Fault] = {}
    # a stop finishes the step of 5 updates at hand, and so a step is stopped once: of the first two of an epoch some
    for step in numbers.sample([12 * epoch + first for epoch in range(EPOCHS) for first in (1, 6)], 5):
        update = step + numbers.randrange(5)
        moments[update] = partial(signal_at_update, update, signum)
    for epoch, edge in enumerate(numbers.sample(list(EDGES), 4), 1):
        update = epoch * UPDATES_PER_EPOCH
        moments[update] = partial(signal_at_edge, update, edge, signum)
    # too late to stop anything, but a command is not done that was asked to stop
    moments[UPDATES] = partial(signal_at_update, UPDATES, signum)
    stop(tmp_path, name, signum, [moments[update] for update in sorted(moments)])
