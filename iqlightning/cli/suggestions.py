"""What to say of a setting that does not exist: the nearest that does, or the key by which it goes here."""

from collections.abc import Iterable
from difflib import get_close_matches

from iqlightning.errors import nearest

__all__ = ["LISTED", "by_another_name", "listing", "suggestion"]

#: Longer lists of valid names are left to ``--help all``.
LISTED = 16

# Letters of a word that is taken for another one misspelt, and the share of letters that these have in common.
_SURE, _ALIKE = 5, 0.8

_DEVICES = "--trainer.accelerator gpu, and --trainer.devices 2 for two of them"
_RATE = "--model.optimizer.lr 0.001, after --model.optimizer Adam where the configuration names no optimizer"
_STEPS = "--trainer.max_steps 3000, which counts gradient updates"
_ENV = "--data.env GymnasiumConfig --data.env.id ID; init writes a configuration for any environment"
_FOLDER = "--trainer.default_root_dir FOLDER, and the name of the run is that of its last configuration"
_CHECKPOINT = "--ckpt_path FILE, or last or best of the newest run of this name"
_PATH = "--data.path FILE"

# what settings are called elsewhere, in words of letters alone, to what is set here
_ELSEWHERE = {
    "lr": _RATE,
    "learningrate": _RATE,
    "optimizer": "--model.optimizer NAME, such as Adam",
    "optim": "--model.optimizer NAME, such as Adam",
    "weightdecay": "--model.optimizer.weight_decay, of an optimizer that has it",
    "bs": "--data.batch_size",
    "batch": "--data.batch_size",
    "minibatchsize": "--data.batch_size",
    "seed": "--seed_everything",
    "randomseed": "--seed_everything",
    "epochs": "--trainer.max_epochs, of data.updates_per_epoch updates each; a run ends at --trainer.max_steps",
    "nepochs": "--trainer.max_epochs, of data.updates_per_epoch updates each; a run ends at --trainer.max_steps",
    "numepochs": "--trainer.max_epochs, of data.updates_per_epoch updates each; a run ends at --trainer.max_steps",
    "steps": _STEPS,
    "updates": _STEPS,
    "iterations": _STEPS,
    "timesteps": _STEPS,
    "totaltimesteps": _STEPS,
    "numsteps": _STEPS,
    "gpu": _DEVICES,
    "gpus": _DEVICES,
    "cuda": _DEVICES,
    "device": _DEVICES,
    "cpu": "--trainer.accelerator cpu",
    "env": _ENV,
    "envid": _ENV,
    "envname": _ENV,
    "environment": _ENV,
    "gym": _ENV,
    "task": _ENV,
    "demos": "--data.episodes, or --data.path FILE where they are in a file",
    "demonstrations": "--data.episodes, or --data.path FILE where they are in a file",
    "numdemos": "--data.episodes",
    "dataset": _PATH,
    "datapath": _PATH,
    "discount": "--model.gamma",
    "algo": "--model NAME, such as IQLearn",
    "algorithm": "--model NAME, such as IQLearn",
    "loss": "--model NAME, such as IQLearn, and --model.divergence NAME of some",
    "net": "--model.encoder NAME",
    "network": "--model.encoder NAME",
    "arch": "--model.encoder NAME",
    "alpha": "--model.divergence.alpha, or the entropy's weight --model.value.temperature",
    "temperature": "--model.value.temperature",
    "entcoef": "--model.value.temperature",
    "tau": "--model.target.rate",
    "clip": "--model.max_grad_norm",
    "gradclip": "--model.max_grad_norm",
    "clipgradnorm": "--model.max_grad_norm",
    "explorationnoise": "--model.agent.exploration_noise, of the agent SoftActorCritic",
    "actionnoise": "--model.agent.exploration_noise, of the agent SoftActorCritic",
    "buffersize": "--data.capacity of ReplayData, --data.online.capacity of ImitationData",
    "logdir": _FOLDER,
    "logs": _FOLDER,
    "out": _FOLDER,
    "output": _FOLDER,
    "outputdir": _FOLDER,
    "savedir": _FOLDER,
    "name": _FOLDER,
    "ckpt": _CHECKPOINT,
    "load": _CHECKPOINT,
    "resume": _CHECKPOINT,
    "resumefrom": _CHECKPOINT,
    "resumefromcheckpoint": _CHECKPOINT,
    "weights": _CHECKPOINT,
    "workers": "--threads; batches are made where they are used, without workers",
    "numworkers": "--threads; batches are made where they are used, without workers",
    "fp16": "--trainer.precision 16-mixed",
    "bf16": "--trainer.precision bf16-mixed",
    "cfg": "--config FILE",
    "configfile": "--config FILE",
}


def by_another_name(name: str) -> str | None:
    """How to set here what goes by a common name elsewhere, whatever its dashes and capitals; None: not known.

    >>> by_another_name("--learning-rate") == by_another_name("lr"), by_another_name("xyz")
    (True, None)
    """
    word = name.rpartition(".")[2].lower()
    return _ELSEWHERE.get("".join(letter for letter in word if letter.isalnum()))


def suggestion(name: str, choices: Iterable[str], prefix: str = "", *, listed: bool = False) -> str:
    """The end of a sentence about a name that is none: the nearest of the choices, and all of them if they are few.

    Args:
        name: what was given, dotted or not.
        choices: what would be valid.
        prefix: before the choice that is suggested, such as ``--``.
        listed: whether few choices are listed.
    """
    choices = list(choices)
    leaf = name.rpartition(".")[2].lower().replace("-", "_")
    same = None if "." in name else next((each for each in choices if each.rpartition(".")[2] == leaf), None)
    near = same or nearest(name, choices) or next((each for each in choices if each.rpartition(".")[2] == leaf), None)
    hint = "" if near is None else f"; did you mean {prefix}{near}?"
    if listed and len(choices) <= LISTED:
        return f"{hint}{' Valid: ' if near else '; valid: '}{listing(choices)}"
    if near is None and len(leaf) >= _SURE:
        for known in get_close_matches(leaf.replace("_", ""), _ELSEWHERE, 1, _ALIKE):
            return f"; for {known} it is {_ELSEWHERE[known]}"
    return hint or "; --help all lists them all"


def listing(choices: Iterable[str]) -> str:
    """Names with commas, the last ones of many as a number."""
    choices = list(choices)
    more = f" and {len(choices) - LISTED} more" if len(choices) > LISTED else ""
    return ", ".join(choices[:LISTED]) + more if choices else "none"
