"""An agent and its settings as a LightningModule: built for an environment, asked, saved and loaded again."""

from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from iqlightning.agents.agent import Agent, AgentFactory
from iqlightning.agents.soft_q import SoftQ
from iqlightning.algorithms.loading import load_learner
from iqlightning.errors import UserError
from iqlightning.files import write_atomically
from iqlightning.policies import AgentPolicy
from iqlightning.portable import likely_observations, require_onnx, trace
from iqlightning.recorded import Recorded, is_complete, plain, plain_factory
from iqlightning.registration import env_config_of_gymnasium
from iqlightning.spaces import Spaces
from iqlightning.types import EnvConfig

__all__ = ["AgentModule"]


class AgentModule(lightning.LightningModule, Recorded):
    """What an algorithm is apart from how it learns.

    Attributes:
        agent: once it is built.
        agent_factory: builds it from spaces.
        env: what it is for; None before it is built, or where data alone are learnt from.
        spaces: of observations and actions; None before it is built.
        gamma: discount.
        seed: of the initial weights.
    """

    agent: Agent
    agent_factory: AgentFactory
    env: EnvConfig | None = None
    spaces: Spaces | None = None
    gamma: float
    seed: int
    trainer: Any  # Lightning's own annotation forbids the attributes that are read

    def build(self, env: EnvConfig | str | None, spaces: Spaces | None = None) -> None:
        """Makes the agent; a run does it with the environment of its data. Weights depend on ``seed`` alone.

        Args:
            env: what it is trained for: an environment's configuration, or its id in Gymnasium; None where there is
                none, and data alone are learnt from.
            spaces: of observations and actions; None for those of the environment.

        Raises:
            UserError: if there is neither, or the agent does not fit the spaces.
        """
        env = env_config_of_gymnasium(env, {}) if isinstance(env, str) else env
        if env is None and spaces is None:
            raise UserError("build needs an environment, or spaces: the Spaces of observations and actions")
        self.env, self.spaces = env, spaces or (None if env is None else env.spaces)
        self.agent = self.fresh_agent()
        self.after_build(self.agent)
        made = {name: each for name, each in self.factories_made().items() if not is_complete(self.hparams.get(name))}
        self.hparams.update({name: plain_factory(each) for name, each in made.items()})

    def after_build(self, agent: Agent) -> None:
        """Called once the agent is there: checks it, and makes what else is trained."""

    def factories_made(self) -> dict[str, Recorded]:
        """By the name of a setting that is a factory, what it has made."""
        if self.hparams.get("agent") is not None:
            return {"agent": self.agent}
        network = self.agent.network if isinstance(self.agent, SoftQ) else None
        return {} if network is None else {"encoder": network.encoder, "head": network.head}

    def fresh_agent(self) -> Agent:
        """An agent with the run's initial weights."""
        assert self.spaces is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.agent_factory(self.spaces)

    def configure_model(self) -> None:
        """Lightning's hook: builds the networks once the data, and with it the environment, is known."""
        env = getattr(self.trainer.datamodule, "env", None)
        if self.spaces is None:
            if env is None:
                raise UserError(
                    f"{type(self).__name__} does not know the observations and actions that these data are of: say it "
                    "with model.build('CartPole-v1'), an environment's configuration or spaces=, before the run, or "
                    "take ImitationData or ReplayData"
                )
            self.build(env)
        elif env is not None and env != self.env:
            if env.spaces != self.spaces:
                raise UserError(
                    f"the data are of '{env.name}', whose observations or actions are others than those that this "
                    f"{type(self).__name__} was built for; make a new one"
                )
            self.env = env

    # ---- what it says

    @property
    def policy(self) -> AgentPolicy:
        """The policy of the present weights."""
        self._require_built()
        return AgentPolicy(self.agent, self.gamma, self.env)

    def _require_built(self) -> None:
        if self.spaces is None:
            raise UserError(
                f"this {type(self).__name__} has no agent before a run begins: fit it, or say with "
                "model.build('CartPole-v1') what it is for"
            )

    def forward(self, observations: Tensor) -> dict[str, Tensor]:
        """What the agent says of observations (B, *shape), with gradients, nothing drawn.

        Returns:
            ``actions``, the best ones, and what they are worth: ``q_values`` (B, A) and ``values`` (B,) where actions
            are numbered, else ``q`` (B,) of those actions.
        """
        self._require_built()
        return self.agent.answers(observations)

    def to_onnx(  # type: ignore[override]
        self, file_path: str | Path, input_sample: Tensor | None = None
    ) -> None:
        """Writes what :meth:`forward` computes as an ONNX program, whose batch size (and grid) may vary.

        Args:
            file_path: the file.
            input_sample: (B, *shape) observations to trace it on, B of at least 2; None takes some that random play in
                the environment sees, or draws them from their space where there is no environment.

        Raises:
            UserError: if the extra ``export`` is not installed, the encoder cannot be traced, or the file cannot be
                written.
        """
        self._require_built()
        assert self.spaces is not None
        if input_sample is None and self.env is None:
            input_sample = likely_observations(self.spaces.observation, 4)
        policy = self.policy
        if input_sample is not None:
            input_sample = policy.checked(input_sample)
        require_onnx()
        write_atomically(file_path, trace(policy, input_sample).onnx_bytes(), what="ONNX file")

    # ---- settings and files

    def note_arguments(self, arguments: dict[str, Any]) -> None:
        """Fills ``hparams`` with the settings as plain data; loggers and checkpoints take them from there."""
        super().note_arguments(arguments)
        self.save_hyperparameters(plain(arguments))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device = "cpu",
        *,
        strict: bool = True,
        weights_only: bool | None = None,
        **changes: Any,
    ) -> Any:
        """The algorithm of a checkpoint, trained and ready to go on; nothing but the file is needed.

        Args:
            checkpoint_path: a file that ``fit``, ``trainer.save_checkpoint`` or ``ModelCheckpoint`` wrote.
            map_location: device of the weights.
            strict: whether the file must hold every weight, and no others.
            weights_only: always on, whatever is said here but False: nothing is unpickled that could run code.
            changes: arguments of the class that shall differ from those stored.

        Returns:
            The algorithm, its agent built.

        Raises:
            UserError: if the file is missing, damaged, of another program or algorithm, or does not fit.
        """
        if weights_only is False:
            raise UserError("checkpoints are read as weights and plain data only: leave out weights_only=False")
        return load_learner(cls, checkpoint_path, map_location, strict, changes)
