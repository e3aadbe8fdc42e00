import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from small_runs import GRID, demonstrations, learner, trainer

from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.callbacks.progress_bar import UpdateProgressBar


def _bar(*, terminal: bool, lines: int = 4, width: int = 200) -> tuple[UpdateProgressBar, io.StringIO]:
    bar, screen = UpdateProgressBar(lines=lines), io.StringIO()
    bar.console = Console(file=screen, force_terminal=terminal, width=width)
    return bar, screen


def test_where_there_is_no_terminal_a_run_prints_a_few_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # every update looks at the clock; here each of them may print
    monkeypatch.setattr("iqlightning.callbacks.progress_bar._REFRESH_SECONDS", 0.0)
    bar, screen = _bar(terminal=False)
    trainer(tmp_path, [PolicyEvaluation(10), bar], max_steps=40).fit(learner(), datamodule=demonstrations(tmp_path))
    seen, *lines = screen.getvalue().splitlines()
    assert seen.startswith("run -> ")
    assert len(lines) == 4
    assert lines[0].startswith("update 10/40 (25%) after 0:")
    assert lines[-1].startswith("update 40/40 (100%)")
    for word in ("updates/s", "loss ", "success ", "distance ratio "):
        assert word in lines[-1]
    assert "return" not in lines[-1]


def test_on_a_terminal_the_bar_ends_at_the_last_update(tmp_path: Path) -> None:
    bar, screen = _bar(terminal=True)
    trainer(tmp_path, [PolicyEvaluation(10), bar]).fit(learner(), datamodule=demonstrations(tmp_path))
    assert "20/20" in screen.getvalue()
    assert "distance ratio" in screen.getvalue()


def test_a_narrow_terminal_cuts_the_last_figures_alone_and_no_word(tmp_path: Path) -> None:
    bar, screen = _bar(terminal=True, width=80)
    trainer(tmp_path, [PolicyEvaluation(10), bar]).fit(learner(), datamodule=demonstrations(tmp_path))
    lines = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    last = next(line for line in reversed(lines) if line.startswith("trained"))
    assert re.search(r" 20/20 0:00:\d\d 0:00:\d\d success [\d.]+%, dist", last), last
    assert len(last) <= 80
    opening = [line.strip() for line in lines[:4]]
    assert "852 weights, 40 demonstrations of" in " ".join(opening)
    assert all(len(line) <= 80 for line in opening)


def test_an_exception_gives_the_terminal_back(tmp_path: Path) -> None:
    bar, screen = _bar(terminal=True)
    data = demonstrations(tmp_path)
    broken = learner()

    def fail(update: int) -> None:
        raise ArithmeticError("broken")

    broken.build(GRID)
    broken.agent.after_update = fail
    with pytest.raises(ArithmeticError, match="broken"):
        trainer(tmp_path, [bar]).fit(broken, datamodule=data)
    # the cursor is shown again
    assert screen.getvalue().rstrip().endswith("\x1b[?25h")


def test_whole_epochs_also_give_a_total(tmp_path: Path) -> None:
    bar, screen = _bar(terminal=False, lines=2)
    run = trainer(tmp_path, [bar], max_steps=-1, max_epochs=2)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert "update 20/20 (100%)" in screen.getvalue()


def test_a_disabled_bar_says_nothing(tmp_path: Path) -> None:
    bar, screen = _bar(terminal=True)
    bar.disable()
    trainer(tmp_path, [bar], max_steps=10).fit(learner(), datamodule=demonstrations(tmp_path))
    bar.print("nothing")
    assert screen.getvalue() == ""
