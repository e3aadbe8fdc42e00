from pathlib import Path

from small_runs import demonstrations, learner, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from iqlightning.gridworld.callbacks.value_map_images import ValueMapImages


def _images(folder: Path) -> list[tuple[int, bytes]]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    if "value_maps" not in events.Tags()["images"]:
        return []
    return [(event.step, event.encoded_image_string) for event in events.Images("value_maps")]


def test_every_validation_logs_a_panel_that_changes_with_the_policy(tmp_path: Path) -> None:
    run = trainer(tmp_path, [ValueMapImages(num_grids=2)], max_steps=20)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    images = _images(Path(str(run.log_dir)))
    assert [step for step, _ in images] == [10, 20]
    assert images[0][1][:4] == b"\x89PNG"
    assert images[0][1] != images[1][1]
    events = EventAccumulator(str(run.log_dir), size_guidance={"images": 0}).Reload()
    assert [event.step for event in events.Images("value_map")] == [10, 20]  # the first grid, in readable size


def test_some_validations_can_be_left_out(tmp_path: Path) -> None:
    run = trainer(tmp_path, [ValueMapImages(num_grids=1, every_n_validations=3)], max_steps=40)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert [step for step, _ in _images(Path(str(run.log_dir)))] == [10, 40]


def test_a_run_without_tensorboard_is_left_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, [ValueMapImages()], logger=False, max_steps=10)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
