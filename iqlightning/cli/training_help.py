"""What ``fit --help`` says: what one mostly sets, on one screen; ``--help all`` is the parser's own, of every key."""

from textwrap import fill

from iqlightning.cli.main import COMMANDS
from iqlightning.cli.sources import package_sources

__all__ = ["training_help"]

_WIDTH = 80

_SETTINGS = {
    "--config FILE": "what to train; options win over files",
    "--ckpt_path last": "go on where the newest such run stopped, or a file",
    "--seed_everything 0": "of weights, batches and exploration",
    "--trainer.max_steps 3000": "gradient updates",
    "--trainer.accelerator auto": "cpu, gpu; --trainer.devices 2: on two of them",
    "--trainer.default_root_dir D": "folder of runs instead of logs",
    "--threads 1": "of the CPU",
    "--model NAME": "",
    "--model.encoder NAME": "GridCNN, MLP, NatureCNN, ...",
    "--model.encoder.hidden [64]": "an argument of the encoder; so for all classes",
    "--model.gamma 0.99": "discount",
    "--model.optimizer.lr 0.001": "of the optimizer that the configuration names",
    "--data.batch_size 64": "transitions",
    "--data.episodes 450": "demonstrations to use",
    "--data.path FILE": "demonstrations that collect made",
    "--data.env.KEY VALUE": "of the environment, such as height 16",
    "--print_config": "print all settings instead of training",
}

_OF_OTHERS = {
    "--config FILE": "that of the run",
    "--ckpt_path best": "best or last of the newest such run, or a file",
    **{name: _SETTINGS[name] for name in ("--trainer.accelerator auto", "--threads 1", "--data.env.KEY VALUE")},
}

_EXAMPLES = {
    "fit": (
        "configs/cnn_iq.yaml",
        "configs/cnn_iq.yaml --data.episodes 45",
        "configs/cnn_iq.yaml --ckpt_path last",
    ),
    "validate": ("configs/cnn_iq.yaml --ckpt_path best",),
    "test": ("configs/cnn_iq.yaml --ckpt_path best",),
    "predict": ("my.yaml --ckpt_path best --output q.safetensors",),
}


def training_help(command: str) -> str:
    """About thirty lines of at most 80 columns."""
    chosen = _SETTINGS if command == "fit" else _OF_OTHERS
    if command == "predict":
        chosen = chosen | {"--output FILE": "write values and actions here (.safetensors); --force replaces"}
    width = max(map(len, chosen)) + 2
    if command == "fit":
        chosen = chosen | {"--model NAME": ", ".join(package_sources().descendants("Learner"))}
    settings = [_entry(name, what, width) for name, what in chosen.items()]
    return "\n".join(
        [
            f"usage: iqlightning {command} --config FILE [--config FILE ...] [--KEY VALUE ...]",
            "",
            f"{COMMANDS[command].summary.partition(':')[0].capitalize()}.",
            "Every key of a configuration is an option; one mostly sets",
            "",
            *settings,
            _entry("--trust PACKAGE", "a package of your own that may be imported", width),
            "",
            "for example",
            *(f"  iqlightning {command} --config {example}" for example in _EXAMPLES[command]),
            "",
            f"iqlightning {command} --help all lists every key; --model.help NAME those of an",
            "algorithm, --model IQLearn --model.agent.help SoftActorCritic those of a part.",
        ]
    )


def _entry(name: str, what: str, width: int) -> str:
    return fill(what, _WIDTH, initial_indent=f"  {name:<{width}}", subsequent_indent=" " * (width + 2))
