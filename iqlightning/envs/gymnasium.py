"""Any Gymnasium environment whose observations a network can read as a batch of tensors."""

import hashlib
import json
import warnings
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import gymnasium
import torch
from gymnasium import spaces

from iqlightning.envs.making import errors_of, made_by_gymnasium
from iqlightning.envs.mirrors import MIRRORS, MirrorSymmetry
from iqlightning.envs.table_expert import PlayedExpert, table_policy
from iqlightning.envs.wrappers import kwargs_of_presets, named_wrappers, wrapped
from iqlightning.errors import UserError, unknown
from iqlightning.observation_codec import LAYOUTS
from iqlightning.registration import KIND_OF_ID
from iqlightning.spaces import Spaces
from iqlightning.types import Augmentation, EnvConfig, Expert, Policy

if TYPE_CHECKING:
    from iqlightning.envs.gymnasium_batch import GymnasiumBatch

__all__ = ["LONGEST_EPISODE", "GymnasiumConfig"]

#: Steps after which episodes are cut off where an environment has no time limit.
LONGEST_EPISODE = 5_000

# Names by which environments that are registered without a time limit keep one of their own: as an attribute, or as an
# argument they are registered with (Atari's last).
_OWN_LIMITS = ("max_episode_steps", "_max_episode_steps", "max_steps", "max_num_frames_per_episode")

_VECTORIZATIONS = ("auto", "sync", "async")

# Letters of a name, before it ends in a mark instead.
_LONGEST_NAME = 100


class _Facts(NamedTuple):
    """What an environment says of itself.

    Attributes:
        spaces: observations encoded, actions counted from 0.
        first_action: the number that the environment gives its first.
        limit: steps after which Gymnasium cuts episodes off.
        limited: whether that, or the environment itself, is known to end its episodes.
    """

    spaces: Spaces
    first_action: int
    limit: int | None
    limited: bool


@dataclass(frozen=True)
class GymnasiumConfig(EnvConfig):
    """A Gymnasium environment by its id, in wrappers or not; it must be registered.

    Observations are of any kind that is made of numbers (:mod:`iqlightning.observation_codec`), an entry
    ``action_mask`` of a ``Dict`` tells which actions are allowed. Actions are discrete, or a box of real numbers with
    bounds. An environment that is registered without a time limit, and keeps none of its own, is cut off after
    :data:`LONGEST_EPISODE` steps, which a warning says.

    Attributes:
        id: for example ``CartPole-v1``. ``module:Env-v0`` imports the module first, as in Gymnasium, where it is
            trusted (``--trust``) or imported already.
        kwargs: arguments of the environment, primitives only.
        wrappers: around it, the first one inside; see :mod:`iqlightning.envs.wrappers`.
        max_episode_steps: of an episode, counted inside all wrappers; None for the limit it is registered with, -1 for
            none. Among ``kwargs``, as ``gymnasium.make`` takes it, it means the same.
        layout: of pictures: channels ``first`` or ``last``, ``auto`` for what their shape suggests, or ``as given``
            to networks that know what to do with them.
        vectorization: ``sync`` steps a batch in this process, one after the other; ``async`` has a process for each;
            ``auto`` measures a step and takes processes where a step of the batch is long.

    Raises:
        UserError: if a wrapper has no name that is known or a setting is out of range; when it is used, if there is no
            such environment or its spaces are of another kind.
    """

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    wrappers: list[str | dict[str, Any]] = field(default_factory=list)
    max_episode_steps: int | None = None
    # a file says nothing of it where it changes nothing, so that it tells no environments apart
    layout: Literal["auto", "first", "last", "as given"] = field(default="auto", compare=False)
    vectorization: Literal["auto", "sync", "async"] = "auto"

    def __post_init__(self) -> None:
        named_wrappers(self.wrappers)
        if "max_episode_steps" in self.kwargs:  # gymnasium.make takes it among them, and so do earlier files
            if self.max_episode_steps is not None:
                raise UserError(
                    "max_episode_steps is given twice, by itself and among kwargs: leave out one of the two"
                )
            kwargs = dict(self.kwargs)
            object.__setattr__(self, "max_episode_steps", kwargs.pop("max_episode_steps"))
            object.__setattr__(self, "kwargs", kwargs)
        limit = self.max_episode_steps
        if limit is not None and not (isinstance(limit, int) and (limit >= 1 or limit == -1)):
            raise UserError(f"max_episode_steps must be at least 1 (or -1 for no limit), not {limit}")
        if self.layout not in LAYOUTS:
            raise unknown("layout of pictures", self.layout, LAYOUTS)
        if self.vectorization not in _VECTORIZATIONS:
            raise unknown("vectorization", self.vectorization, _VECTORIZATIONS)

    def __hash__(self) -> int:
        return hash((self.id, self._key))

    @property
    def _key(self) -> str:
        return json.dumps([getattr(self, each.name) for each in fields(self) if each.compare], sort_keys=True)

    @property
    def name(self) -> str:
        """The id, fit for a file name, with a mark of arguments, wrappers and time limit if there are any."""
        name = _plain(self.id)
        arguments = [f"{key}_{value}" for key, value in sorted(self.kwargs.items())]
        for entry in self.wrappers:
            path = entry if isinstance(entry, str) else str(entry.get("class_path"))
            settings = {} if isinstance(entry, str) else entry.get("init_args") or {}
            words = [path.rpartition(".")[2], *(f"{key}_{value}" for key, value in sorted(settings.items()))]
            arguments.append("_".join(words))
        if self.max_episode_steps is not None:
            arguments.append("endless" if self.max_episode_steps == -1 else f"{self.max_episode_steps}_steps")
        mark = "".join(x for x in "-".join(arguments) if x.isalnum() or x in "-_.")
        whole = f"{name}-{mark}" if arguments else name
        if len(whole) > _LONGEST_NAME:
            whole = f"{whole[:_LONGEST_NAME]}-{hashlib.sha256(self._key.encode()).hexdigest()[:8]}"
        return whole

    def to_dict(self) -> dict[str, Any]:
        """Primitives only. What stands at its default is left out, and the layout where it changes nothing."""
        described = {"kind": super().to_dict()["kind"], "id": self.id, "kwargs": self.kwargs}
        for each in fields(self)[2:]:
            value = getattr(self, each.name)
            usual = each.default if each.default is not MISSING else []
            if each.name == "layout" and (value == "as given" or self.spaces.codec is None):
                continue  # as files are read that say nothing
            if each.name == "layout" or value != usual:
                described[each.name] = value
        return described

    @classmethod
    def of_earlier(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Files without a layout are of a time when pictures stayed as they were given."""
        return {"layout": "as given"} | values

    @property
    def spaces(self) -> Spaces:
        """As the environment says, observations encoded; discrete actions are counted from 0."""
        return self._facts.spaces

    @property
    def first_action(self) -> int:
        """As the environment says."""
        return self._facts.first_action

    @property
    def _facts(self) -> _Facts:
        return _facts(self, self.layout)

    def make_env(self, render_mode: str | None = None) -> gymnasium.Env:
        """One of these environments, in its wrappers.

        Where nothing else ends its episodes they are cut off after :data:`LONGEST_EPISODE` steps; that there is no
        limit is said.

        Raises:
            UserError: if it or a wrapper cannot be made.
        """
        return self._made(self.limit_to_play_with(), render_mode)

    def limit_to_play_with(self) -> int | None:
        """Steps after which episodes are cut off here; where nothing else ends them that is said, once."""
        if self.limited:
            return self.max_episode_steps
        _warn_of_no_limit(self.id, self.max_episode_steps is None)
        return self.max_episode_steps or LONGEST_EPISODE

    def _made(self, limit: int | None, render_mode: str | None = None) -> gymnasium.Env:
        given = {"max_episode_steps": limit, "render_mode": render_mode}
        arguments = kwargs_of_presets(self.wrappers) | self.kwargs
        arguments |= {name: value for name, value in given.items() if value is not None}
        return wrapped(made_by_gymnasium(self.id, lambda: gymnasium.make(self.id, **arguments)), self.wrappers)

    @property
    def limited(self) -> bool:
        """Whether something is known to end its episodes, at the latest."""
        return self._facts.limited

    @property
    def time_limit(self) -> int | None:
        """Steps after which Gymnasium cuts its episodes off, by its registration, a wrapper or the setting."""
        return self._facts.limit

    def make_batch(
        self,
        num_envs: int,
        *,
        seed: int,
        split: str = "any",
        device: str | torch.device = "cpu",
        first: int = 0,
        every: int = 1,
    ) -> "GymnasiumBatch":
        """``num_envs`` environments, numbers ``first``, ``first + every``, ...; splits differ in their seeds."""
        from iqlightning.envs.gymnasium_batch import GymnasiumBatch  # which needs this module

        return GymnasiumBatch(self, num_envs, seed=seed, split=split, device=device, first=first, every=every)

    def gymnasium_spec(self) -> tuple[str, dict[str, Any]]:
        """The id and the arguments.

        Raises:
            UserError: if wrappers or a time limit of its own come on top, which no id speaks of.
        """
        if self.wrappers:
            raise UserError(
                f"'{self.name}' has wrappers, and Gymnasium's id '{self.id}' stands for what is inside them"
            )
        limit = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        return self.id, self.kwargs | limit

    def differs_from(self, recorded: EnvConfig) -> str:
        """What wrappers those of a recording had, if they were others."""
        if not isinstance(recorded, GymnasiumConfig) or recorded.id != self.id:
            return ""
        ours, theirs = (named_wrappers(each.wrappers) for each in (self, recorded))
        if ours == theirs:
            return ""
        words = [", ".join(_short(entry) for entry in each) or "no wrapper" for each in (theirs, ours)]
        return f"they were recorded under {words[0]}, and this environment has {words[1]}"

    @property
    def expert(self) -> Expert | None:
        """One that need not be trained, where there is one.

        Value iteration where the environment tells its dynamics in a table (FrozenLake, Taxi, CliffWalking), the bot of
        BabyAI, on MiniGrid's grids that are seen whole, with a goal to reach, a shortest way, and on Atari's Pong and
        Breakout a player that reads the memory.
        """
        policy = self._expert_policy
        if policy is None:
            return None
        # one that keeps something for each episode looks inside the environments
        env = replace(self, vectorization="sync") if hasattr(policy, "begin") else self
        return PlayedExpert(env, policy)

    @property
    def _expert_policy(self) -> Policy | None:
        if self._of_minigrid:
            from iqlightning.envs.minigrid import minigrid_policy

            return minigrid_policy(self)
        if self.id.startswith("ALE/"):
            from iqlightning.envs.atari import atari_policy

            return atari_policy(self)
        return table_policy(self)

    @property
    def _of_minigrid(self) -> bool:
        """Whether :mod:`iqlightning.envs.minigrid` knows more of it, which needs a package of its own."""
        return self.id.startswith(("BabyAI-", "MiniGrid-")) and self.spaces.codec is not None

    def references(self, seed: int = 0) -> dict[str, Policy]:
        """The expert, where there is one."""
        policy = self._expert_policy
        return {} if policy is None else {"expert": policy}

    def symmetry(self, device: str | torch.device = "cpu") -> Augmentation | None:
        """Left and right exchanged, where it is known how.

        That is so for the environments of :data:`~iqlightning.envs.mirrors.MIRRORS`, and on MiniGrid where a player
        sees what is ahead or around it.
        """
        if self._of_minigrid:
            from iqlightning.envs.minigrid import minigrid_mirror

            mirror = minigrid_mirror(self)
        else:
            # arguments may change the dynamics (wind), wrappers the observations, and then nothing is promised
            mirror = None if self.kwargs or self.wrappers else MIRRORS.get(self.id)
        return None if mirror is None else MirrorSymmetry(mirror, device=device)


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text)


def _short(entry: dict[str, Any]) -> str:
    """A wrapper in few words."""
    arguments = ", ".join(f"{name}={value}" for name, value in sorted(entry["init_args"].items()))
    return f"{entry['class_path'].rpartition('.')[2]}({arguments})"


@lru_cache(maxsize=64)
def _facts(config: GymnasiumConfig, layout: str) -> _Facts:
    """Makes the environment once to look at its spaces, of which pictures are in this layout."""
    env = config._made(config.max_episode_steps)
    actions, observations = env.action_space, env.observation_space
    limit, limited = None if env.spec is None else env.spec.max_episode_steps, _is_limited(env)
    env_id = config.id
    with errors_of(env_id, "close"):
        env.close()
    if isinstance(actions, spaces.Discrete):
        taken, first = spaces.Discrete(int(actions.n)), int(actions.start)
    elif isinstance(actions, spaces.Box) and actions.is_bounded() and actions.dtype.kind == "f":
        taken, first = actions, 0
    else:
        kind = type(actions).__name__
        if isinstance(actions, spaces.Box):
            kind += " of whole numbers" if actions.is_bounded() else " without bounds"
        raise UserError(
            f"'{env_id}' has actions of the kind {kind}; only Discrete and a Box of real numbers with bounds are "
            "supported"
        )
    try:
        return _Facts(Spaces.of(observations, taken, layout), first, limit, limited)
    except UserError as error:
        raise UserError(f"'{env_id}' cannot be read: {error}") from error


def _is_limited(env: gymnasium.Env) -> bool:
    """Whether something is known to end its episodes: Gymnasium's time limit, or one of the environment's own."""
    spec = env.spec
    if spec is not None and (spec.max_episode_steps is not None or spec.id in KIND_OF_ID):
        return True
    arguments = {} if spec is None else spec.kwargs
    own = (arguments.get(name, getattr(env.unwrapped, name, None)) for name in _OWN_LIMITS)
    return any(isinstance(limit, int) for limit in own)


@lru_cache(maxsize=64)
def _warn_of_no_limit(env_id: str, cut_off: bool) -> None:
    """Says it once."""
    after = f"is cut off after {LONGEST_EPISODE:,} steps" if cut_off else "never ends"
    warnings.warn(
        f"'{env_id}' has no time limit: an episode that does not end by itself {after}; set one with "
        "--max_episode_steps N, or with max_episode_steps of the environment",
        stacklevel=1,
    )
