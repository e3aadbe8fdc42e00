import io
import re
from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

from iqlightning.analysis.experiments.table import Row, as_table
from iqlightning.analysis.intervals import Estimate
from iqlightning.evaluation.tables import interval_key, logged_table, new_table, policies_table, policy_table
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.types import EnvConfig, Figure

LONG = "an-environment-with-a-name-of-more-than-eighty-letters-as-wrappers-and-their-arguments-make-it"


def printed(table: Table, width: int) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width).print(table)
    assert max(map(len, screen.getvalue().splitlines())) <= width
    return screen.getvalue()


def letters(text: str) -> Counter[str]:
    return Counter(re.findall(r"[\w.,%±]", text))


def figures_of(env: type[EnvConfig]) -> dict[str, object]:
    values: dict[str, object] = {figure.name: 0.987654 for figure in env.FIGURES}
    return values | {interval_key(figure.name): [0.912345, 0.998765] for figure in env.FIGURES}


def tables() -> dict[str, Table]:
    made = {}
    for env in (GridWorldConfig, EnvConfig):
        rows = [{"policy": policy} | figures_of(env) for policy in ("behaviour cloning, greedy", f"{LONG}, sampled")]
        made[f"policies of {env.__name__}"] = policies_table(LONG, env.FIGURES, rows, 10_000)
        made[f"policy of {env.__name__}"] = policy_table(LONG, env.FIGURES, figures_of(env))
        logged = {f"val/{figure.name}": 0.5 for figure in env.FIGURES} | {f"truth/{LONG}": 123456.789}
        made[f"logged of {env.__name__}"] = logged_table(LONG, env.FIGURES, logged)
    value = Estimate(0.5, 0.25, 0.75, 3)
    names = ("success_rate", "distance_ratio", "solved_distance_ratio")
    row = Row(
        LONG, "random_everything, 20 x 20", {}, (0, 1), dict.fromkeys(names, value), dict.fromkeys(names, (0.5, 0.6))
    )
    made["experiment"] = as_table(LONG, [row])
    return made


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", tables())
def test_nothing_is_cut_however_long_the_names_are(name: str, width: int) -> None:
    made = tables()[name]
    text = printed(made, width)
    assert "…" not in text
    # a cell that is wrapped is not in one piece, but all its letters are there
    cells = [str(cell) for column in made.columns for cell in (column.header, *column.cells)]
    assert letters(text) == letters(f"{made.title}{''.join(cells)}{made.caption or ''}")


def test_at_80_columns_figures_of_usual_names_stand_on_one_line() -> None:
    for env in (GridWorldConfig, EnvConfig):
        rows = [{"policy": "behaviour cloning, greedy"} | figures_of(env)]
        text = printed(policies_table("1,000 grids: random_everything, 10x10", env.FIGURES, rows, 1000), 80)
        assert re.search(r"^ ?behaviour cloning, greedy +\d", text, re.MULTILINE), text


def test_all_tables_have_one_style() -> None:
    styles = {(each.box, each.title_justify, each.title_style, each.pad_edge) for each in tables().values()}
    assert len(styles) == 1
    assert styles == {(made.box, made.title_justify, made.title_style, made.pad_edge) for made in [new_table("a", "b")]}


def test_what_was_logged_has_its_name_its_label_and_its_form() -> None:
    figures = (Figure("success_rate", "success rate", ".2%"), Figure("spl", "SPL"))
    text = printed(logged_table("test", figures, {"test/other": 3.0, "test/spl": 0.5, "test/success_rate": 0.25}), 80)
    lines = [line.split() for line in text.splitlines() if "test/" in line]
    assert lines == [
        ["success", "rate", "test/success_rate", "25.00%"],
        ["SPL", "test/spl", "0.500"],
        ["test/other", "3"],
    ]
