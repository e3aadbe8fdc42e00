import inspect
from typing import Any

import pytest
from lightning.pytorch import LightningDataModule, Trainer

from iqlightning.agents import Agent
from iqlightning.algorithms import Learner
from iqlightning.algorithms.schedules import Schedule
from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.cli.signatures import classes_for, names_of_arguments
from iqlightning.cli.sources import package_sources, trainer_arguments
from iqlightning.cli.trust import import_families
from iqlightning.losses.divergences import Divergence
from iqlightning.losses.iq import ValueTerm
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head
from iqlightning.types import EnvConfig


@pytest.mark.parametrize(
    "family", [Learner, LightningDataModule, Encoder, Divergence, Agent, ValueTerm, EnvConfig, Schedule, Head]
)
def test_the_text_of_a_class_says_what_the_class_takes(family: Any) -> None:
    import_families(())
    classes = classes_for(family)
    assert len(classes) > 1
    for name, cls in classes.items():
        if cls.__module__.startswith("iqlightning."):
            assert package_sources().arguments(name) == names_of_arguments(cls), name


def test_so_does_that_of_the_trainer_and_of_the_keeper_of_checkpoints() -> None:
    assert trainer_arguments() == list(inspect.signature(Trainer).parameters)
    assert package_sources().arguments("BestAndLast") == names_of_arguments(BestAndLast)


def test_classes_are_known_by_what_they_descend_from() -> None:
    import_families(())
    assert set(package_sources().descendants("Learner")) == set(classes_for(Learner)) - {"Learner"}


def test_what_is_not_certain_is_not_said() -> None:
    assert package_sources().arguments("Nothing") is None
    assert package_sources().arguments("InverseDynamics") is not None
