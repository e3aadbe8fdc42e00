"""The script in the package's README runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import iqlightning

README = Path(iqlightning.__file__).parent / "README.md"


def script() -> str:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return next(block for block in blocks if "iq.from_arrays" in block)


def test_it_has_at_most_20_lines():
    assert len([line for line in script().splitlines() if line.strip()]) <= 20


@pytest.mark.slow
def test_it_trains_and_draws_the_curve_and_the_policy(tmp_path):
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(README.parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:iqlightning", "-c", script()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cartpole.png").stat().st_size > 5_000
    policy = iqlightning.load_policy(tmp_path / "cartpole.ckpt")
    env = policy.env
    assert env is not None
    results = iqlightning.evaluate_environment(policy, env, episodes=5, seed=0)
    assert results.metrics()["mean_return"] > 150
    left, right = (policy.predict(np.array([0, 0, angle, 0]))[0] for angle in (-0.1, 0.1))
    assert (left, right) == (0, 1)
