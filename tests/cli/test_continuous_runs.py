"""Continuous tasks by the commands: from arrays to a run and its checkpoint, and what does not go together."""

from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from small_runs import MLP_8, ONLINE

from iqlightning.data.demonstrations import load_demonstrations

ACTOR = """
    model:
      class_path: BehaviorCloning
      init_args:
        agent: {class_path: SoftActorCritic, init_args: {hidden: [8]}}
        loss: mse
        log_every: 2
    data:
      class_path: ImitationData
      init_args:
        path: pendulum.safetensors
        batch_size: 8
        validation_fraction: 0.0
        updates_per_epoch: 4
    trainer:
      accelerator: cpu
      max_steps: 4
      callbacks:
        - {class_path: PolicyEvaluation, init_args: {episodes: 1, test_episodes: 1}}
    checkpoint: {monitor: val/mean_return, mode: max}
"""

SMALL_ACTOR = "agent: {class_path: SoftActorCritic, init_args: {hidden: [8]}}"


def swing(**changes) -> Any:
    """Two episodes of 20 moves, as arrays."""
    observations = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    ends = np.arange(40) % 20 == 19
    given = {
        "observations": observations,
        "actions": np.linspace(-2, 2, 40, dtype=np.float32)[:, None],
        "next_observations": np.roll(observations, -1, axis=0),
        "rewards": -np.ones(40, np.float32),
        "terminated": np.zeros(40, bool),
        "truncated": ends,
    }
    return {name: each for name, each in (given | changes).items() if each is not None}


def arrays(workplace, **changes):
    np.savez(workplace.folder / "swing.npz", **swing(**changes))
    return ("collect", "--from", "swing.npz", "--gym", "Pendulum-v1", "--output", "pendulum.safetensors")


def test_from_arrays_to_a_run_and_its_checkpoint(workplace):
    assert workplace.run(*arrays(workplace)) == 0, workplace.shown()
    played, metadata = load_demonstrations(workplace.folder / "pendulum.safetensors")
    assert (played.num_episodes, played.num_transitions) == (2, 40)
    assert metadata["env"]["id"] == "Pendulum-v1"
    workplace.write("swing.yaml", ACTOR)
    run = workplace.fit(config="swing.yaml")
    assert "train/mse" in (run / "metrics.csv").read_text()
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    assert workplace.run("evaluate", checkpoint, "--episodes", "1") == 0
    assert workplace.run("collect", "--policy", checkpoint, "--episodes", "1", "--output", "own.safetensors") == 0
    assert load_demonstrations(workplace.folder / "own.safetensors")[0].actions.abs().max() <= 2


def test_one_thinned_demonstration_fills_a_larger_batch(workplace):
    assert workplace.run(*arrays(workplace)) == 0
    workplace.write("swing.yaml", ACTOR)
    few = ("--data.episodes", "1", "--data.stride", "10", "--data.batch_size", "64")
    workplace.fit(*few, config="swing.yaml")
    sentence = workplace.refused("fit", "--config", "swing.yaml", *few, "--data.batch_size", "128")
    assert "give 2 transitions (stride 10), so many fewer than batch_size 128" in sentence
    assert "at most 64" in sentence


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"actions": np.full((40, 1), 2.5, np.float32)}, ["swing.npz", "the action [2.5]", "from [-2] to [2]"]),
        ({"actions": np.zeros((40, 2), np.float32)}, ["swing.npz", "shape (2,)", "the environment's have (1,)"]),
        (
            {"actions": np.full((40, 1), np.nan, np.float32)},
            ["an action of 'swing.npz' is not finite (at row 0"],
        ),
        ({"actions": np.full((40, 1), "left")}, ["'swing.npz' has 'left' at row 0, which is no number"]),
        (
            {"observations": np.zeros((40, 4)), "next_observations": np.zeros((40, 4))},
            ["swing.npz", "shape (4,), and the environment's have (3,)"],
        ),
        ({"next_observations": np.zeros((40, 4))}, ["swing.npz", "must be of one shape"]),
        ({"observations": np.float32(3)}, ["observations of 'swing.npz' are no rows of numbers"]),
        ({"rewards": np.zeros((40, 2))}, ["rewards of 'swing.npz' have shape (40, 2)"]),
        ({"rewards": np.full(40, np.inf)}, ["a reward of 'swing.npz' is not finite"]),
        ({"episode_starts": np.array([0.5, 20])}, ["episode_starts of 'swing.npz' must be whole numbers"]),
        (
            {"episode_starts": np.array([0, 50])},
            ["episode_starts of 'swing.npz'", "increase to at most 40"],
        ),
        ({"truncated": None}, ["does not say where episodes end"]),
    ],
)
def test_arrays_that_do_not_fit_the_environment_are_refused(workplace, changes, parts):
    sentence = workplace.refused(*arrays(workplace, **changes))
    for part in parts:
        assert part in sentence
    assert not (workplace.folder / "pendulum.safetensors").exists()


def test_arrays_of_numbered_actions_are_not_rounded(workplace):
    command = ("collect", "--from", "cart.npz", "--gym", "CartPole-v1", "--output", "cart.safetensors")
    given = swing(observations=np.zeros((40, 4)), next_observations=None)
    for actions, one in ((np.full(40, 0.5), "0.5"), (np.full(40, 2), "2"), (np.full(40, -1), "-1")):
        np.savez(workplace.folder / "cart.npz", **cast(Any, given | {"actions": actions}))
        sentence = workplace.refused(*command)
        assert f"actions of 'cart.npz' must be whole numbers from 0 to 1, but one is {one}" in sentence
    np.savez(workplace.folder / "cart.npz", **(given | {"actions": np.ones(40)}))
    assert workplace.run(*command) == 0, workplace.shown()


def test_files_that_hold_no_arrays_are_refused(workplace):
    (workplace.folder / "note.npz").write_text("nothing")
    np.save(workplace.folder / "one.npy", np.zeros(3))
    options = ("--gym", "Pendulum-v1", "--output", "x.safetensors")
    assert "'note.npz' is not an archive of NumPy arrays" in workplace.refused(
        "collect", "--from", "note.npz", *options
    )
    assert "'one.npy'" in workplace.refused("collect", "--from", "one.npy", *options)
    assert "there is no file 'none.npz'" in workplace.refused("collect", "--from", "none.npz", *options)
    arguments = arrays(workplace)
    assert "does not say which environment it is of: name it with --gym ID" in workplace.refused(
        *arguments[:3], *arguments[5:]
    )


def test_demonstrations_out_of_the_space_or_of_another_size_are_refused_by_fit(workplace):
    assert workplace.run(*arrays(workplace)) == 0
    workplace.write("swing.yaml", ACTOR)
    for env, problem in (
        ("{class_path: GymnasiumConfig, init_args: {id: CartPole-v1}}", "observations have shape (3,)"),
        ("{class_path: GymnasiumConfig, init_args: {id: Small-v0}}", "from [-0.5] to [0.5]"),
    ):
        workplace.write("other.yaml", f"data: {{init_args: {{env: {env}}}}}")
        sentence = workplace.refused("fit", "--config", "swing.yaml", "--config", "other.yaml")
        assert "do not fit the environment" in sentence
        assert problem in sentence
    assert not list(workplace.folder.glob("logs/*/*"))


@pytest.mark.parametrize(
    ("algorithm", "arguments", "env", "parts"),
    [
        ("DQN", MLP_8, "Pendulum-v1", ["SoftQ needs discrete actions", "model.agent: SoftActorCritic", "SAC instead"]),
        ("SAC", "", "CartPole-v1", ["an actor draws continuous actions", "are Discrete", "DQN instead of SAC"]),
        ("SAC", SMALL_ACTOR, "CartPole-v1", ["an actor draws continuous actions", "leave out model.agent"]),
        ("SAC", "", "Endless-v0", ["'Endless-v0'", "Box without bounds"]),
    ],
)
def test_an_algorithm_and_a_task_that_do_not_go_together_are_told(workplace, algorithm, arguments, env, parts):
    workplace.write("online.yaml", ONLINE % (algorithm, arguments, env))
    sentence = workplace.refused("fit", "--config", "online.yaml")
    for part in parts:
        assert part in sentence
    assert not list(workplace.folder.glob("logs/*/*"))


def test_a_run_of_reinforcement_learning_is_played_by_evaluate(workplace):
    workplace.write("online.yaml", ONLINE % ("SAC", SMALL_ACTOR, "Pendulum-v1"))
    checkpoint = workplace.fit(config="online.yaml") / "checkpoints" / "best.ckpt"
    assert workplace.run("evaluate", str(checkpoint), "--episodes", "1", "--rewards", "2") == 0, workplace.shown()


def test_an_imitation_of_continuous_actions_without_an_actor_is_told_what_to_set(workplace):
    assert workplace.run(*arrays(workplace)) == 0
    workplace.write("swing.yaml", ACTOR)
    workplace.write("discrete.yaml", "model: {init_args: {agent: null, loss: nll}}")
    fit = ("fit", "--config", "swing.yaml", "--config", "discrete.yaml")
    assert "model.agent that is to be set, to SoftActorCritic" in workplace.refused(*fit)
    assert "set model.agent: SoftActorCritic" in workplace.refused(*fit, "--model.encoder", "MLP")


class Still(gymnasium.Env):
    """Nothing moves; there to have spaces."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,))

    def __init__(self, bound: float) -> None:
        self.action_space = spaces.Box(-bound, bound, (1,))


gymnasium.register("Small-v0", entry_point=lambda **_: Still(0.5))
gymnasium.register("Endless-v0", entry_point=lambda **_: Still(np.inf))
