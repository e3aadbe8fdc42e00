import re
from pathlib import Path

from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.report.tables import figures_table, runs_table
from iqlightning.analysis.runs import Group, Run


def exhibits(*settings):
    runs = [
        Run(Path("logs") / f"run{number}" / "version_0", each, {}, None, None) for number, each in enumerate(settings)
    ]
    return [Exhibit(Group(run.name, [run]), number, None) for number, run in enumerate(runs)]


def rows(html):
    """The text of each cell of each row, tables one after the other."""
    found = re.findall("<tr.*?</tr>", html, re.DOTALL)
    return [
        [re.sub("<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in found
    ]


def test_a_setting_that_differs_in_every_run_is_told_of_every_run():
    keys = [f"model.setting{number}" for number in range(12)]
    html = runs_table(exhibits(*({"trainer.max_steps": 400 * run} | dict.fromkeys(keys, run) for run in (1, 2, 3))))
    shown = {name: values for name, *values in rows(html)}
    assert shown["max_steps"] == ["400", "800", "1200"]
    for key in keys:
        assert shown[key.partition(".")[2]] == ["1", "2", "3"]


def test_what_two_of_three_share_is_told_of_all_and_the_third_is_marked():
    keys = [f"model.setting{number}" for number in range(12)]
    html = runs_table(exhibits(*(dict.fromkeys(keys, value) for value in ("a", "a", "b"))))
    assert html.count("<td>a</td><td>a</td>") == len(keys)
    assert html.count('<td class="differs">b</td>') == len(keys)


def test_settings_that_not_all_have_are_told_and_a_class_stands_beside_none():
    html = runs_table(
        exhibits(
            {"model.optimizer": None, "a": None},
            {"model.optimizer.class_path": "torch.optim.Adam", "model.optimizer.lr": 0.001},
        )
    )
    shown = {name: values for name, *values in rows(html)}
    assert shown["optimizer"] == ["null", "Adam"]
    assert shown["optimizer.lr"] == ["", "0.001"]
    assert "0 settings that all share" in html


def test_figures_are_rows_and_many_configurations_are_several_tables():
    columns = [(each, (f"{each.colour}.5", "1")) for each in exhibits(*[{}] * 7)]
    tables = re.findall("<table>.*?</table>", figures_table("figures", ("regret", "agreement"), columns), re.DOTALL)
    assert [len(rows(table)[0]) for table in tables] == [6, 3]
    assert rows(tables[1])[1] == ["regret", "5.5", "6.5"]
    assert all(len(rows(table)) == 3 for table in tables)
