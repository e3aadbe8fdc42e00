"""Who can be watched: a run's checkpoints, one after the other."""

from pathlib import Path

import pytest
import torch
from small_runs import GRID, demonstrations, learner, trainer

from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.checkpoints import load_policy
from iqlightning.errors import UserError
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.page.contenders import Contender, contenders_of


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run of three validations."""
    folder = tmp_path_factory.mktemp("run")
    keeper = BestAndLast("val/success_rate", "max", snapshots=5)
    made = trainer(folder, [PolicyEvaluation(5), keeper], max_steps=30)
    made.fit(learner(), datamodule=demonstrations(folder))
    return Path(keeper.last_model_path).parent.parent


def test_a_checkpoint_comes_with_the_others_of_its_run(run: Path) -> None:
    contender, optimum = contenders_of([str(run / "checkpoints" / "last.ckpt")])
    assert [each.updates for each in contender.checkpoints] == [10, 20, 30]
    assert "last" in contender.checkpoints[-1].name
    assert contender.shown == 2
    assert (
        contender.describe()["checkpoints"][0] == {"updates": 10, "name": ""} or contender.checkpoints[0].name == "best"
    )
    assert optimum.checkpoints == ()

    layout = draw_layouts(GRID, torch.tensor([0]), torch.tensor([0]), "test")
    for index, file in enumerate((run / "checkpoints" / "updates" / f"{updates}.ckpt") for updates in (10, 20, 30)):
        alone = Contender("", load_policy(file)).maps(layout)
        assert torch.equal(contender.maps(layout, index).q.nan_to_num(), alone.q.nan_to_num())
    assert not torch.equal(contender.maps(layout, 0).q.nan_to_num(), contender.maps(layout, 2).q.nan_to_num())


def test_a_runs_folder_means_its_best_checkpoint(run: Path, tmp_path: Path) -> None:
    contender, _ = contenders_of([str(run)])
    assert "best" in contender.checkpoints[contender.shown].name
    assert contender.label == "/".join(run.parts[-2:])
    with pytest.raises(UserError, match="is no run with a checkpoint"):
        contenders_of([str(tmp_path)])


def test_a_damaged_checkpoint_is_left_out_of_its_run(run: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    last.write_bytes(whole[:1000])
    contender, _ = contenders_of([str(run / "checkpoints" / "best.ckpt")])
    last.write_bytes(whole)
    assert all("last" not in each.name for each in contender.checkpoints)
