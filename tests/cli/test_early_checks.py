import json
import subprocess
import sys

import pytest
from small_runs import TINY

from iqlightning.cli import fit
from iqlightning.cli.config_files import config_folder, find_configs
from iqlightning.cli.early_checks import refuse_unknown_keys
from iqlightning.cli.training_help import training_help
from iqlightning.errors import UserError

# arguments after `fit`, and what is said of them
EARLY = {
    "--config tinny.yaml": "did you mean 'tiny.yaml'?",
    "--config tiny.yaml --trainer.max_epoch 3": "did you mean --trainer.max_epochs?",
    "--config tiny.yaml --modl.gamma 0.9": "did you mean --model.gamma?",
    "--config tiny.yaml --model.gama 0.9": "BehaviorCloning has no setting 'gama'; did you mean gamma?",
    "--config tiny.yaml --model.encoder.hiden [3]": "MLP has no setting 'hiden'; did you mean hidden?",
    "--config tiny.yaml --data.env.heigth 3": "GridWorldConfig has no setting 'heigth'; did you mean height?",
    "--config tiny.yaml --config bad.yaml": "there is no setting 'trainer.max_epoch' (in bad.yaml)",
    "--config tiny.yaml --data.seed 3": "data.seed follows seed_everything",
    "--config tiny.yaml --trust": "--trust needs the name of a package",
    "--config tiny.yaml --lr 3": "there is no setting --lr; here it is --model.optimizer.lr",
    "--config tiny.yaml --learning-rate=3": "--model.optimizer.lr",
    "--config tiny.yaml --batch_size 3": "did you mean --data.batch_size?",
    "--config tiny.yaml --batch-size 3": "did you mean --data.batch_size?",
    "--config tiny.yaml --seed 3": "here it is --seed_everything",
    "--config tiny.yaml --epochs 3": "here it is --trainer.max_epochs",
    "--config tiny.yaml --max_steps 3": "did you mean --trainer.max_steps?",
    "--config tiny.yaml --gpu": "here it is --trainer.accelerator gpu",
    "--config tiny.yaml --gpus 2": "--trainer.devices 2",
    "--config tiny.yaml --device cuda": "here it is --trainer.accelerator gpu",
    "--config tiny.yaml --env CartPole-v1": "--data.env GymnasiumConfig --data.env.id ID",
    "--config tiny.yaml --height 3": "did you mean --data.env.height?",
    "--config tiny.yaml --gamma 0.9": "did you mean --model.gamma?",
    "--config tiny.yaml --resume": "here it is --ckpt_path FILE, or last",
    "--config tiny.yaml --trainer.gpus 1": "here it is --trainer.accelerator gpu",
    "--config tiny.yaml --model.lr 1": "BehaviorCloning has no setting 'lr'; here it is --model.optimizer.lr",
    "--config tiny.yaml --config lr.yaml": "there is no setting 'lr' (in lr.yaml); here it is --model.optimizer.lr",
}


@pytest.fixture
def files(workplace):
    workplace.write("bad.yaml", "trainer: {max_epoch: 3}")
    workplace.write("lr.yaml", "lr: 0.1")
    return workplace


def test_mistakes_and_the_help_are_told_before_anything_heavy_is_imported(files):
    program = (
        "import contextlib, io, json, sys\n"
        "from iqlightning.cli.main import main\n"
        "said = {}\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        status = main(['fit', *line.split()])\n"
        "    said[line] = status, err.getvalue() or out.getvalue()\n"
        "assert not {'torch', 'lightning', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "print(json.dumps(said))\n"
    )
    lines = json.dumps([*EARLY, "--help", "--config tiny.yaml -h"])
    done = subprocess.run([sys.executable, "-c", program, lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for line, part in EARLY.items():
        status, sentence = said[line]
        assert status == 2
        assert part in sentence
        assert len(sentence.splitlines()) == 1
    assert said["--help"] == said["--config tiny.yaml -h"] == [0, training_help("fit") + "\n"]


@pytest.mark.parametrize(
    "line",
    [each for each in EARLY if ("did you mean" in EARLY[each] or "(in bad" in EARLY[each]) and "height" not in each],
)
def test_the_parser_says_the_same(files, monkeypatch, line):
    early = files.refused("fit", *line.split())
    monkeypatch.setattr(fit, "_refuse_mistakes", lambda arguments, command: None)
    late = files.refused("fit", *line.split())
    # the parser knows the settings of all classes, and may find one that is nearer
    assert late.partition(";")[0] == early.partition(";")[0]
    assert EARLY[line].rpartition("; ")[2] in late


@pytest.mark.parametrize("config", sorted(path.name for path in config_folder().glob("*.yaml")))
def test_whatever_comes_with_the_package_passes(config):
    configs, rest = find_configs(["--config", str(config_folder() / config)])
    for command in ("fit", "validate", "test", "predict"):
        refuse_unknown_keys(rest, configs, command, trusting=False)


@pytest.mark.parametrize(
    "line",
    [
        "--trainer.max_steps 3 --seed_everything=3 --threads 2 --print_config",
        "--model DQN --model.double_q false",  # of the class that the option chooses
        "--model=IQLearn --model.divergence=Chi2 --model.divergence.alpha 0.1",
        "--model.class_path IQLearn --model.init_args.divergence.class_path Chi2",
        "--model.encoder GridCNN --model.encoder.channels 3",
        "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor x",
        "--trainer.logger.save_dir x --trainer.strategy.find_unused_parameters true",
        "--model my_package.Own --model.own 3",
        "--model.help IQLearn",
        "--checkpoint.monitor val/loss --ckpt_path last",
        "--data.online.num_envs 4",
    ],
)
def test_what_may_be_right_is_left_to_the_parser(workplace, line):
    refuse_unknown_keys(["--config", "tiny.yaml", *line.split()], ["tiny.yaml"], "fit", trusting=False)


def test_the_settings_of_own_classes_are_not_known(workplace):
    workplace.write("own.yaml", TINY.replace("class_path: BehaviorCloning", "class_path: my_package.BehaviorCloning"))
    refuse_unknown_keys(["--model.own", "3"], ["own.yaml"], "fit", trusting=False)
    with pytest.raises(UserError, match="BehaviorCloning has no setting 'own'"):
        refuse_unknown_keys(["--model.own", "3"], ["tiny.yaml"], "fit", trusting=False)
    refuse_unknown_keys(["--model.own", "3"], ["tiny.yaml"], "fit", trusting=True)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_help_is_a_screen_that_a_person_reads(command):
    lines = training_help(command).splitlines()
    assert len(lines) <= 36
    assert max(map(len, lines)) <= 80
    assert f"  iqlightning {command} --config " in training_help(command)


def test_the_settings_of_the_help_exist(workplace):
    """Each as it stands there, with its value, but for files and names."""
    named = [line.split()[0] for line in training_help("fit").splitlines() if line.startswith("  --")]
    keys = [name for name in named if name not in ("--config", "--trust", "--data.env.KEY", "--print_config")]
    assert len(keys) > 10
    for key in keys:
        refuse_unknown_keys([key, "3"], ["tiny.yaml"], "fit", trusting=False)


def test_all_of_the_help_is_there_on_request(workplace):
    assert workplace.run("fit", "--help", "all") == 0
    shown = workplace.shown()
    assert len(shown.splitlines()) > 100
    for key in ("--trainer.max_epochs", "--checkpoint.mode", "--threads", "--model.help"):
        assert key in shown


def test_help_on_a_part_says_how_it_is_asked_for(workplace):
    assert workplace.run("fit", "--model.help", "SoftActorCritic") == 2
    assert "no help on 'SoftActorCritic' there" in workplace.shown()
    assert workplace.run("fit", "--model", "IQLearn", "--model.agent.help", "SoftActorCritic") == 0
    assert "exploration_noise" in workplace.shown()
