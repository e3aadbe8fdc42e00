"""``init NAME --gym ID``: a configuration that runs, with comments, for any environment of Gymnasium."""

import inspect
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

from gymnasium.spaces import Discrete

from iqlightning.cli.options import Options, console_beside
from iqlightning.cli.recordings import add_environment_options, named_environment
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.files import check_output, write_atomically
from iqlightning.nets import encoders
from iqlightning.types import EnvConfig

__all__ = ["run"]

_ALGORITHMS = ("IQLearn", "BehaviorCloning", "DQN", "SAC")

# Encoders of pictures, the best first; some read no picture that is very small.
_OF_PICTURES = ("NatureCNN", "MLP")

# Set where an environment has no time limit.
_STEPS = 1000


def run(arguments: Sequence[str], command: str) -> None:
    """Looks at the environment, writes the file, says what comes next."""
    options = _options(command)
    given = options.parse_args(arguments)
    file = Path(given.name if given.name.endswith(".yaml") else f"{given.name}.yaml")
    check_output(file, "configuration", force=given.force)
    env = named_environment(given)
    if env is None:
        raise UserError(f"{options.prog} needs the environment: --gym ID, such as --gym CartPole-v1")
    assert isinstance(env, GymnasiumConfig)
    discrete = isinstance(env.spaces.action, Discrete)
    learns_from_rewards = given.algorithm in ("DQN", "SAC")
    if learns_from_rewards and discrete != (given.algorithm == "DQN"):
        other = "DQN" if discrete else "SAC"
        raise UserError(f"{given.algorithm} is for {'continuous' if discrete else 'discrete'} actions; take {other}")
    if learns_from_rewards and given.policy is not None:
        raise UserError(f"--policy says who demonstrates, and {given.algorithm} learns from rewards: leave it out")
    endless = not env.limited
    if endless:
        env = replace(env, max_episode_steps=_STEPS)
    trust = [word for package in options.trusted for word in ("--trust", package)]
    policy = given.policy or ("random" if env.expert is None else "expert")
    commands = [_line(words) for words in _commands(env, file, policy, trust, learns_from_rewards)]
    text = _head(given.algorithm, env, commands, policy, endless) + _settings(given.algorithm, env, file.stem)
    write_atomically(file, text.encode(), what="configuration")
    console = console_beside()
    console.print(f"wrote {file}; next:", highlight=False, soft_wrap=True)
    for each in commands:
        console.print(f"  {each}", highlight=False, soft_wrap=True)
    if policy == "random" and not learns_from_rewards:
        console.print(
            "the random policy stands for your expert: a model.zip, a checkpoint, a function MODULE:NAME, or --from "
            "FILE instead of --policy",
            highlight=False,
            soft_wrap=True,
        )


def _commands(
    env: GymnasiumConfig, file: Path, policy: str, trust: Sequence[str], learns_from_rewards: bool
) -> list[list[str]]:
    """The next two."""
    fit = ["fit", *trust, "--config", str(file)]
    if learns_from_rewards:
        best = f"logs/{file.stem}/version_0/checkpoints/best.ckpt"
        return [fit, ["evaluate", *trust, best, "--episodes", "20"]]
    where = ["--gym", env.id]
    for option, value in (("--gym_kwargs", env.kwargs), ("--wrappers", env.wrappers)):
        where += [option, json.dumps(value)] if value else []
    where += [] if env.max_episode_steps is None else ["--max_episode_steps", str(env.max_episode_steps)]
    output = f"data/{file.stem}.safetensors"
    return [["collect", *trust, "--policy", policy, *where, "--episodes", "20", "--output", output], fit]


def _line(words: Sequence[str]) -> str:
    return f"python -m iqlightning {shlex.join(words)}"


def _head(algorithm: str, env: EnvConfig, commands: Sequence[str], policy: str, endless: bool) -> str:
    lines = [f"{algorithm} on {env.name}. Run", *(f"  {each}" for each in commands)]
    if policy == "random" and algorithm not in ("DQN", "SAC"):
        lines += [
            "where the random policy only stands for your expert. Others: --policy CHECKPOINT, --policy model.zip",
            "--trust stable_baselines3, --policy my_package:act --trust my_package; or --from FILE for a recording.",
        ]
    if endless:
        lines.append(f"The environment has no time limit, so that its episodes are cut off after {_STEPS} steps.")
    lines += ["Every key can be changed here or given as an option of fit, such as --trainer.max_steps 500.", ""]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _settings(algorithm: str, env: GymnasiumConfig, name: str) -> str:
    discrete = isinstance(env.spaces.action, Discrete)
    parts = [f"model:\n  class_path: {algorithm}\n  init_args:\n"]
    encoder = _encoder(env.observation_shape, discrete)
    if discrete:
        parts.append(indent(f"encoder:{encoder}", "    "))
    else:
        agent = _AGENT if encoder is None else f"{_AGENT}    encoder:{indent(encoder, '    ').lstrip(' ')}"
        more = _FROM_REWARDS if algorithm == "SAC" else _FROM_DEMONSTRATIONS
        parts.append(indent(agent + indent(more, "    "), "    "))
    key = algorithm if algorithm != "IQLearn" else ("IQLearn, discrete" if discrete else "IQLearn, continuous")
    parts.append(indent(_OBJECTIVES[key] + _OPTIMIZER, "    "))
    if algorithm in ("DQN", "SAC"):
        given = {"kwargs": env.kwargs, "wrappers": env.wrappers, "max_episode_steps": env.max_episode_steps}
        more = "".join(f"\n        {key}: {json.dumps(value)}" for key, value in given.items() if value)
        parts.append(_REPLAY.format(id=json.dumps(env.id), more=more))
    else:
        parts.append(_IMITATION.format(path=json.dumps(f"data/{name}.safetensors")))
        parts.append("" if discrete or algorithm != "IQLearn" else _ONLINE)
    parts.append(_TRAINER)
    return "".join(parts)


def _encoder(shape: tuple[int, ...], discrete: bool) -> str | None:
    """The lines after ``encoder:`` for observations of this shape; None where an actor-critic needs none."""
    mlp = "\n  class_path: MLP  # any shape\n  init_args:\n    hidden: [128, 128]\n"
    if len(shape) == 1 and not discrete:
        return None
    if len(shape) != 3:
        return mlp
    return next((f" {name}\n" for name in _OF_PICTURES if name != "MLP" and _reads(name, shape)), mlp)


def _reads(name: str, shape: tuple[int, ...]) -> bool:
    encoder: Any = getattr(encoders, name, None)
    if encoder is None or inspect.isabstract(encoder):
        return False
    try:
        encoder(shape)
    except UserError:
        return False
    return True


def _options(command: str) -> Options:
    options = Options(
        command,
        "Write NAME.yaml, a configuration that runs on an environment of Gymnasium, and say what comes next.",
        trusting=True,
    )
    options.add_argument("name", metavar="NAME", help="of the configuration, and of its runs")
    add_environment_options(options)
    options.add_argument(
        "--algorithm", choices=_ALGORITHMS, default="IQLearn", help="DQN and SAC learn from rewards, the others imitate"
    )
    options.add_argument(
        "--policy",
        metavar="random|CKPT|MODEL.zip|MODULE:NAME",
        default=None,
        help="who demonstrates, as of collect; None: the environment's own expert, else the random policy",
    )
    options.add_argument("--force", action="store_true", help="replace the file if it exists")
    return options


_AGENT = """agent:
  class_path: SoftActorCritic  # critics and an actor, for continuous actions
  init_args:
    hidden: [128, 128]
"""

_FROM_DEMONSTRATIONS = """layer_norm: true
aggregate: mean
temperature: 0.005  # weight of the policy's entropy; higher is more random
actor_average: 0.99
"""

_FROM_REWARDS = """temperature: 1.0
learn_temperature: true
"""

_OBJECTIVES = {
    "IQLearn, discrete": """divergence:
  class_path: Chi2
  init_args:
    alpha: 0.5  # lower allows larger rewards
value_term: ExpertStates
value:
  class_path: SoftValue
  init_args:
    temperature: 0.1  # of the policy softmax(Q / temperature); higher is more random
gamma: 0.99
""",
    "IQLearn, continuous": """divergence:
  class_path: Chi2Mixture
  init_args:
    alpha: 0.05  # lower allows larger rewards
value_term: ExpertStatesAsInitial
clip_targets: true
gamma: 0.99
""",
    "BehaviorCloning": """gamma: 0.99
""",
    "DQN": """double_q: true
epsilon_start: 1.0  # share of random actions, at first and after epsilon_steps steps
epsilon_end: 0.05
epsilon_steps: 5000
gamma: 0.99
""",
    "SAC": """gamma: 0.99
""",
}

_OPTIMIZER = """optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.001
max_grad_norm: 10.0
"""

_IMITATION = """
data:
  class_path: ImitationData
  init_args:
    path: {path}  # of collect; it says which environment it is of
    batch_size: 64
    validation_fraction: 0.1  # of the episodes, held out to score the policy on
    updates_per_epoch: 500  # after which the policy is played
    updates_per_step: 25  # does not change results
"""

_ONLINE = """    online:  # the environment is played, too; its rewards are not looked at
      num_envs: 1
      capacity: 100000
      warmup_steps: 500  # random ones, before the first update
      steps_per_update: 1.0
"""

_REPLAY = """
data:
  class_path: ReplayData
  init_args:
    env:
      class_path: GymnasiumConfig
      init_args:
        id: {id}{more}
    num_envs: 1
    capacity: 50000  # transitions that are remembered
    batch_size: 64
    warmup_steps: 500  # random ones, before the first update
    steps_per_update: 1.0
    updates_per_epoch: 500  # after which the policy is played
    updates_per_step: 25  # does not change results
"""

_TRAINER = """
trainer:
  max_steps: 3000  # gradient updates
  callbacks:
    - class_path: PolicyEvaluation
      init_args:
        episodes: 10
        test_episodes: 20
    - class_path: StabilityMonitor
    - class_path: UpdateProgressBar
    - class_path: FinalSummary
      init_args:
        episodes: 20
    - class_path: BoardLayout

checkpoint:
  monitor: val/mean_return  # what best.ckpt is the best of; null keeps the last weights alone
  mode: max
"""
