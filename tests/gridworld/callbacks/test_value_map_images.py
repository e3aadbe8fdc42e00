from pathlib import Path

from small_runs import board, demonstrations, learner, trainer

from iqlightning.gridworld.callbacks.value_map_images import ValueMapImages


def test_every_validation_logs_a_panel_that_changes_with_the_policy(tmp_path: Path) -> None:
    run = trainer(tmp_path, [ValueMapImages(num_grids=2)], max_steps=20)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    events = board(run)
    assert [event.step for event in events.Images("value_maps")] == [10, 20]
    first, second = (event.encoded_image_string for event in events.Images("value_maps"))
    assert first[:4] == b"\x89PNG"
    assert first != second
    assert [event.step for event in events.Images("value_map")] == [10, 20]  # the first grid, in readable size


def test_some_validations_can_be_left_out(tmp_path: Path) -> None:
    run = trainer(tmp_path, [ValueMapImages(num_grids=1, every_n_validations=3)], max_steps=40)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert [event.step for event in board(run).Images("value_maps")] == [10, 40]


def test_a_run_without_tensorboard_is_left_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, [ValueMapImages()], logger=False, max_steps=10)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
