"""Ten central lines, each with a mistake that could be made in it: the tests that are named notice every one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import iqlightning

TESTS = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """A mistake.

    Attributes:
        file: within the package.
        line: text that occurs there once.
        mistake: what takes its place.
        tests: what must fail with it, and pass without; within the folder of tests.
    """

    file: str
    line: str
    mistake: str
    tests: str


MUTATIONS = {
    "sign of the value term": Mutation(
        "losses/iq.py",
        "return subtracted - expert_term, {",
        "return -subtracted - expert_term, {",
        "losses/test_iq.py",
    ),
    "terminated against truncated": Mutation(
        "data/replay.py",
        "terminated=self.terminated.index_select(0, last),",
        "terminated=self.truncated.index_select(0, last),",
        "data/test_replay.py",
    ),
    "gamma": Mutation(
        "losses/iq.py",
        "return q_a - gamma * next_v.masked_fill(terminated, 0.0)",
        "return q_a - next_v.masked_fill(terminated, 0.0)",
        "losses/test_iq.py",
    ),
    "action order": Mutation(
        "gridworld/game/rules.py",
        "STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))",
        "STEPS = ((-1, 0), (1, 0), (0, 1), (0, -1))",
        "gridworld/game/test_planning.py",
    ),
    "mask of walls": Mutation(
        "gridworld/game/rules.py",
        "return torch.where(blocked, player, target, out=out)",
        "return target if out is None else out.copy_(target)",
        "gridworld/game/test_properties.py::test_a_batch_plays_as_the_rules_say",
    ),
    "target update": Mutation(
        "nets/target.py",
        "list(network.parameters()), self.rate)",
        "list(network.parameters()), 1 - self.rate)",
        "nets/test_target.py",
    ),
    "seed keying": Mutation(
        "data/index_stream.py",
        "indices = integers(self.stream, self.seed, updates, leaders, bound=self.size)",
        "indices = integers(self.stream, updates, leaders, bound=self.size)",
        "data/test_index_stream.py",
    ),
    "checksum": Mutation(
        "checkpoint_files.py",
        "if left or _finished(digest, version) != seal[2].decode():",
        "if left:",
        "test_checkpoint_io.py::test_every_flipped_bit_is_noticed",
    ),
    "rank stride": Mutation(
        "data/index_stream.py",
        "[rank::world_size]",
        "[::world_size]",
        "data/test_index_stream.py",
    ),
    "clip": Mutation(
        "algorithms/updates/eager.py",
        "(self.max_grad_norm / (norm + 1e-6)).clamp_(max=1.0)",
        "(self.max_grad_norm / (norm + 1e-6))",
        "algorithms/test_eager_and_compiled_updates.py::test_updates_are_those_of_torch[sgd-1000.0]",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A folder with a copy of the package, which what is run there imports."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "static")
    shutil.copytree(Path(iqlightning.__file__).parent, folder / "iqlightning", ignore=ignored)
    return folder


def outcome(copy: Path, *tests: str) -> tuple[int, str]:
    """Exit status and output of pytest with the copied package."""
    options = ["-n", "0", "-q", "-x", "-p", "no:cacheprovider", "--no-header", "--no-cov"]
    command = [sys.executable, "-m", "pytest", *options, *(str(TESTS / each) for each in tests)]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_line_is_there_once():
    assert len(MUTATIONS) == 10
    for name, mutation in MUTATIONS.items():
        text = (Path(iqlightning.__file__).parent / mutation.file).read_text()
        assert text.count(mutation.line) == 1, name
        compile(text.replace(mutation.line, mutation.mistake), mutation.file, "exec")


@pytest.mark.slow
def test_without_a_mistake_the_same_tests_pass(copy):
    where = [sys.executable, "-c", "import iqlightning; print(iqlightning.__file__)"]
    found = subprocess.run(where, cwd=copy, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(copy))
    status, said = outcome(copy, *dict.fromkeys(mutation.tests for mutation in MUTATIONS.values()))
    assert status == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_in_a_central_line_makes_a_test_fail(copy, name):
    file, line, mistake, tests = MUTATIONS[name]
    path = copy / "iqlightning" / file
    text = path.read_text()
    assert line in text
    try:
        path.write_text(text.replace(line, mistake))
        status, said = outcome(copy, tests)
    finally:
        path.write_text(text)
    assert status == 1, f"no test noticed: {said}"
    assert "1 failed" in said
