from pathlib import Path

import pytest
from small_runs import demonstrations, learner, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from iqlightning.callbacks.board_layout import BoardLayout
from iqlightning.callbacks.event_logger import EventLogger
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.callbacks.stability_monitor import StabilityMonitor
from iqlightning.callbacks.summary import FinalSummary
from iqlightning.gridworld.callbacks.policy_images import PolicyImages
from iqlightning.gridworld.callbacks.truth_logging import TruthLogging
from iqlightning.gridworld.callbacks.value_map_images import ValueMapImages


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> EventAccumulator:
    """Of a run with all that GridWorld's configurations log."""
    folder: Path = tmp_path_factory.mktemp("board")
    callbacks = [
        PolicyEvaluation(10),
        TruthLogging(num_grids=1),
        StabilityMonitor(),
        ValueMapImages(num_grids=1),
        PolicyImages(episodes=5, num_grids=1, animated=1),
        FinalSummary(episodes=10, cloning=False),
        BoardLayout(),
    ]
    logger = EventLogger(str(folder), name="run", default_hp_metric=False)
    run = trainer(folder, callbacks, max_steps=20, logger=logger)
    run.fit(learner(), datamodule=demonstrations(folder))
    return EventAccumulator(str(run.log_dir), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def groups(names: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        group, _, rest = name.partition("/")
        found.setdefault(group, []).append(rest)
    return found


def test_it_opens_on_what_matters(events: EventAccumulator) -> None:
    scalars = groups(events.Tags()["scalars"])
    assert list(scalars)[:2] == ["1 how good", "2 how it learns"]  # TensorBoard opens the first two
    assert scalars["1 how good"] == [
        "val/distance_ratio",
        "val/expert_agreement",
        "val/mean_return",
        "val/spl",
        "val/success_rate",
    ]
    assert scalars["2 how it learns"] == ["train/entropy", "train/grad_norm", "train/learning_rate", "train/loss"]
    assert list(scalars)[-1] == "9 more"
    assert {"train/q", "train/v", "train/reward"} <= set(scalars["3 what it believes"])
    pictures = groups(events.Tags()["images"])
    assert pictures == {
        "1 how good": ["episodes"],
        "3 what it believes": ["value_map", "value_maps"],
        "6 what it does": ["failures", "success", "visitation"],
    }


def test_no_chart_is_there_for_what_nothing_logs(events: EventAccumulator) -> None:
    (given,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(given.tensor_proto.string_val[0])  # type: ignore[attr-defined]
    charts = {page.title: [chart.title for chart in page.chart] for page in layout.category}
    assert "5 actor" not in charts
    assert "Q against its bound" not in charts["3 what it believes"]
    assert not any("domain" in title for titles in charts.values() for title in titles)
    assert {"loss", "entropy"} <= set(charts["2 how it learns"])


def test_no_scalar_has_one_point_and_none_is_the_epoch(events: EventAccumulator) -> None:
    assert {tag for tag in events.Tags()["scalars"] if len(events.Scalars(tag)) < 2} == set()
    assert not any("epoch" in tag for tag in events.Tags()["scalars"])


def test_what_is_in_the_first_groups_is_described(events: EventAccumulator) -> None:
    shown = [*events.Tags()["scalars"], *events.Tags()["images"]]
    described = {tag for tag in shown if events.summary_metadata[tag].summary_description}
    assert {tag for tag in shown if not tag.startswith("9 more")} <= described


def test_the_table_has_settings_metrics_and_final_figures(events: EventAccumulator) -> None:
    content = {name: data.plugin_data.content for name, data in events.summary_metadata.items()}
    assert b"1 how good/val/success_rate" in content["_hparams_/experiment"]
    start = content["_hparams_/session_start_info"]
    for word in (b"test success_rate", b"test distance_ratio", b"IQLearn", b"algorithm"):
        assert word in start
