import itertools
from pathlib import Path

import pytest
from small_runs import demonstrations, learner, trainer

from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.checkpoint_files import snapshots
from iqlightning.checkpoints import load_policy
from iqlightning.errors import UserError


def checkpoints(folder: Path, most: int, updates: int) -> dict[int, Path]:
    keeper = BestAndLast("val/success_rate", "max", snapshots=most)
    run = trainer(folder, [PolicyEvaluation(5), keeper], max_steps=updates)
    run.fit(learner(), datamodule=demonstrations(folder))
    return snapshots(Path(keeper.last_model_path).parent)


def test_no_snapshots_are_kept_unless_they_are_asked_for(tmp_path: Path) -> None:
    assert checkpoints(tmp_path, 0, 20) == {}


def test_snapshots_are_whole_checkpoints_named_by_their_updates(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, 5, 30)
    assert list(kept) == [10, 20, 30]
    assert [load_policy(file).info["updates"] for file in kept.values()] == [10, 20, 30]


def test_of_many_snapshots_some_are_left_spread_over_the_training(tmp_path: Path) -> None:
    kept = list(checkpoints(tmp_path, 4, 100))
    assert len(kept) == 4
    assert (kept[0], kept[-1]) == (10, 100)
    assert max(after - before for before, after in itertools.pairwise(kept)) <= 50


@pytest.mark.parametrize("most", [-1, 1])
def test_a_number_of_snapshots_that_cannot_be(most: int) -> None:
    with pytest.raises(UserError, match=f"snapshots must be 0 or at least 2, not {most}"):
        BestAndLast(snapshots=most)
