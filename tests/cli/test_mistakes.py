import pytest
from small_runs import MLP_8, ONLINE
from torch.optim import Optimizer

from iqlightning.agents import Agent
from iqlightning.algorithms import Learner
from iqlightning.cli.signatures import classes_for
from iqlightning.cli.training import import_families
from iqlightning.errors import nearest
from iqlightning.losses.divergences import Divergence
from iqlightning.losses.iq import ValueTerm
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.types import EnvConfig

# arguments after `fit --config tiny.yaml`, and what the sentence has to hold: the culprit, and what would be valid
MISTAKES = {
    "--trainer.max_epoch 3": ["--trainer.max_epoch", "did you mean --trainer.max_epochs?"],
    "--sed_everything 3": ["--sed_everything", "did you mean --seed_everything?"],
    "--modl.gamma 0.9": ["--modl.gamma", "did you mean --model.gamma?"],
    "--model.gama 0.9": ["BehaviorCloning has no setting 'gama'", "did you mean gamma?"],
    "--model.encoder.hiden [3]": ["MLP has no setting 'hiden'", "did you mean hidden?"],
    "--data.env.heigth 3": ["GridWorldConfig has no setting 'heigth'", "did you mean height?", "level, height, width"],
    "--model.schedule.warm 3": ["--model.schedule.warm needs a class first", "--model.schedule NAME"],
    "--trainer.logger.save_dir here": ["--trainer.logger.save_dir needs a class first", "--trainer.logger NAME"],
    "--model BehaviourCloning": ["model names 'BehaviourCloning'", "did you mean BehaviorCloning?", "DQN"],
    "--model.encoder GridCMM": ["model.encoder names 'GridCMM'", "did you mean GridCNN?"],
    "--model.encoder torch.nn.Linear": ["'torch.nn.Linear'", "no such class that fits", "MLP"],
    "--model lightning.pytorch.callbacks.Callback": ["model", "no such class that fits"],
    "--model somewhere.Else": ["'somewhere.Else'", "may not", "--trust somewhere"],
    "--data ImitatonData": ["data names 'ImitatonData'", "did you mean ImitationData?", "ReplayData"],
    "--data.env GridWorl": ["data.env names 'GridWorl'", "did you mean GridWorldConfig?"],
    "--trainer.callbacks+=Nothing": ["trainer.callbacks names 'Nothing'", "PolicyEvaluation"],
    "--trainer.max_steps many": ["trainer.max_steps must be a whole number, not 'many'"],
    "--trainer.max_steps null": ["trainer.max_steps must be a whole number, not 'null'"],
    "--model.gamma high": ["model.gamma must be a number, not 'high'"],
    "--model.gamma null": ["model.gamma must be a number, not null"],
    "--model.max_grad_norm x": ["model.max_grad_norm must be a number or null, not 'x'"],
    "--model.encoder.hidden many": ["model.encoder.hidden must be a list"],
    "--data.batch_size 1.5": ["data.batch_size must be a whole number, not '1.5'"],
    "--data.env.height null": ["data.env.height must be a whole number, not 'null'"],
    "--data.env.random_start maybe": ["data.env.random_start must be true or false, not 'maybe'"],
    "--checkpoint.mode least": ["checkpoint.mode must be min or max, not 'least'"],
    "--seed_everything many": ["seed_everything must be a whole number, not 'many'"],
    "--seed_everything -1": ["seed_everything must be a whole number from 0"],
    "--threads 0": ["threads must be at least 1"],
    "--threads 1000000": ["threads must be at most", "not 1000000"],
    "--trainer.devices 1000000": ["trainer.devices must be at most", "not 1000000"],
    "--trainer.accelerator abacus": ["invalid accelerator name", "abacus"],
    "--trainer.precision 7": ["trainer.precision must be", "not '7'"],
    "--trainer.val_check_interval 100": ["val_check_interval 100 is longer than an epoch of 10 updates"],
    "--trainer.callbacks+=LearningRateFinder": ["LearningRateFinder cannot work here", "step their optimizers"],
    "--model.optimizer Adam --model.optimizer.lr -1": ["the optimizer of the", "cannot be made", "-1"],
    "--model.optimizer SGD --model.optimizer.lr 0.1 --model.optimizer.nesterov true": ["Nesterov momentum"],
    "--model.optimizer LBFGS": ["the optimizer LBFGS cannot work here", "take Adam"],
    "--model.divergence.alpha 3": ["BehaviorCloning has no setting 'divergence'"],
    "--data.online.num_envs 2.5": ["data.online.num_envs must be a whole number"],
    "--model.encoder.hidden [1000000000000]": ["there is not enough memory", "take smaller sizes"],
    f"--data.episodes {1 << 70}": ["data.episodes is 1.18e+21, which is beyond 64 bits"],
    f"--model.encoder.hidden [{1 << 63}]": ["model.encoder.hidden is 9.22e+18, which is beyond 64 bits"],
    "--checkpoint.monitor val/mean_retrun": ["checkpoint.monitor", "did you mean 'val/mean_return'?"],
    "--trainer.callbacks []": ["nothing logs 'val/mean_return'", "PolicyEvaluation", "null", "to val/log_likelihood"],
    "--trainer.callbacks [] --data.validation_fraction 0": ["nothing logs 'val/mean_return'", "PolicyEvaluation"],
    "--data.seed 3": ["data.seed follows seed_everything"],
    "--trainer.gradient_clip_val 1": ["trainer.gradient_clip_val has no effect", "--model.max_grad_norm"],
    "--trainer.accumulate_grad_batches 4": ["trainer.accumulate_grad_batches has no effect", "--data.batch_size"],
    "--trainer.overfit_batches 1": ["trainer.overfit_batches 1 has no effect", "--data.episodes"],
    "--trainer.log_every_n_steps 7 --model.log_every 5": ["log_every 5", "log_every_n_steps 7", "are one setting"],
    "--trainer.callbacks+=StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.1": ["cannot work here"],
    "--trainer.strategy foo": ["strategy='foo'"],
    "--trainer.max_steps": ["--trainer.max_steps needs a value"],
    "--model": ["--model needs a value"],
    "--model.encoder.hidden --seed_everything 1": ["--model.encoder.hidden needs a value"],
    "--trainer.callbacks.PolicyEvaluation.episodes 3": ["no setting", "callbacks are set in a configuration"],
    "extra": ["unexpected argument 'extra'"],
    "--config": ["--config needs the name of a file"],
    "--config tinny.yaml": ["there is no configuration 'tinny.yaml'", "did you mean 'tiny.yaml'?"],
    "--trust": ["--trust needs the name of a package"],
    "--trust no_such_package": ["no_such_package", "no module named"],
    "--trust jsonargparse": ["cannot be trusted"],
    "--ckpt_path last": ["no run with a checkpoint 'last'"],
    "--ckpt_path lasst": ["there is no checkpoint 'lasst'", "last or best"],
    "--ckpt_path tiny.yaml": ["'tiny.yaml' is not a checkpoint"],
    "--data.env.level statik": ["no level 'statik'", "did you mean 'static'?", "random_everything"],
    "--data.env.num_walls 99": ["99 walls", "valid: 0 to 14"],
    "--data.env.height 1 --data.env.width 1": ["height must be", "between 2 and 64, not 1"],
    "--data.path nowhere.safetensors": ["nowhere.safetensors", "does not exist"],
    "--data.batch_size 100000": ["fewer than batch_size 100000"],
    "--model.gamma 1.5": ["gamma must lie in [0, 1), not 1.5"],
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_on_the_command_line_is_one_sentence(workplace, arguments):
    sentence = workplace.refused("fit", "--config", "tiny.yaml", *arguments.split())
    for part in MISTAKES[arguments]:
        assert part in sentence
    assert not list(workplace.folder.glob("logs/*/*"))


FILES = {
    "trainer: {max_epoch: 3}": [
        "there is no setting 'trainer.max_epoch' (in bad.yaml)",
        "did you mean trainer.max_epochs?",
    ],
    "modle: {class_path: DQN}": ["there is no setting 'modle' (in bad.yaml)", "did you mean model?"],
    "model: {init_args: {gama: 0.9}}": ["BehaviorCloning has no setting 'gama' (in bad.yaml)", "did you mean gamma?"],
    "model: {class_path: IQLern}": ["model names 'IQLern' (in bad.yaml)", "did you mean IQLearn?"],
    "model: {class_path: IQLearn, int_args: {gamma: 0.9}}": [
        "has no setting 'int_args' (in bad.yaml)",
        "did you mean init_args?",
    ],
    "trainer: {max_steps: many}": ["trainer.max_steps (in bad.yaml) must be a whole number, not 'many'"],
    "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitr: x}}]}": [
        "EarlyStopping has no setting 'monitr' (in bad.yaml)",
        "did you mean monitor?",
    ],
    "trainer: {callbacks: [{class_path: PolicyEvaluaton}]}": ["PolicyEvaluaton", "did you mean PolicyEvaluation?"],
    "trainer: {max_steps: '${nothing.here}'}": ["trainer.max_steps refers to ${nothing.here}, which is not set"],
    "model: [1, {a\nb: 3": ["the configuration 'bad.yaml' is not valid YAML", "line 2"],
    "just words": ["the configuration 'bad.yaml' holds a str"],
    "data: {init_args: {seed: 4}}": ["data.seed (in bad.yaml) follows seed_everything"],
    "model: !!python/object/apply:os.mkdir [executed]": ["bad.yaml' is not valid YAML"],
    "model: {class_path: os.mkdir, init_args: {path: executed}}": ["'os.mkdir' (in bad.yaml)", "may not"],
    "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {setup: os.mkdir}}]}": ["may not"],
    "trainer: {logger: {class_path: builtins.exec, init_args: {source: 'x'}}}": ["may not"],
}


@pytest.mark.parametrize("content", FILES)
def test_a_mistake_in_a_file_is_one_sentence_that_names_the_file(workplace, content):
    workplace.write("bad.yaml", content)
    sentence = workplace.refused("fit", "--config", "tiny.yaml", "--config", "bad.yaml")
    for part in FILES[content]:
        assert part in sentence
    assert not (workplace.folder / "executed").exists()
    assert not list(workplace.folder.glob("logs/*/*"))


def test_memory_that_cannot_be_had_is_a_sentence(workplace):
    workplace.write("dqn.yaml", ONLINE % ("DQN", MLP_8, "CartPole-v1"))
    sentence = workplace.refused("fit", "--config", "dqn.yaml", "--data.capacity", str(10**15))
    assert "there is not enough memory" in sentence
    assert "a smaller batch or buffer" in sentence
    assert not (workplace.folder / "logs").exists()


def slips(word: str) -> set[str]:
    """A letter lost, doubled or changed, or two exchanged, after the first."""
    found = set()
    for at in range(1, len(word)):
        before, letter, after = word[:at], word[at], word[at + 1 :]
        found |= {before + after, before + letter + letter + after, f"{before}o{after}"}
        found.add(before[:-1] + letter + before[-1] + after)
    return found - {word}


@pytest.mark.parametrize("family", [Learner, Optimizer, Encoder, Divergence, Agent, ValueTerm, EnvConfig])
def test_every_slip_in_the_name_of_a_class_is_met_with_that_name(family):
    import_families(())
    names = list(classes_for(family))
    for name in names:
        for wrong in slips(name) - set(names):
            met = nearest(wrong, names)
            shorter = {wrong[:at] + wrong[at + 1 :] for at in range(len(wrong))}
            assert met == name or met in shorter or wrong in slips(str(met)), (name, wrong, met)  # a slip of both


def test_without_a_configuration_the_sentence_says_what_to_give(workplace):
    assert "--config configs/cnn_iq.yaml" in workplace.refused("fit")


def test_a_file_that_is_not_text_is_refused(workplace):
    (workplace.folder / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in workplace.refused("fit", "--config", "bad.yaml")


def test_weights_are_needed_to_validate_test_or_predict(workplace):
    for command in ("validate", "test", "predict"):
        sentence = workplace.refused(command, "--config", "tiny.yaml")
        assert f"{command} needs the weights of a run: --ckpt_path" in sentence
