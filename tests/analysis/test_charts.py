import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iqlightning.analysis.charts import PALETTE, Series, grouped_scatter, learning_curves, pixels
from iqlightning.analysis.intervals import band
from iqlightning.analysis.report.embed import animation_html, chart_html, picture_html


def series(label="a", colour=1):
    return Series(label, colour, band([[(10, 1.0), (20, 2.0)], [(10, 3.0), (20, 2.0)]]))


def dots(end: float = 2.0):
    return grouped_scatter({"<b>": ([1.0, 2.0], [1.0, end])}, "lr & more", "y")


def test_a_curve_is_the_mean_of_its_seeds_and_the_band_their_range():
    figure: Any = learning_curves([series()])
    (axes,) = figure.axes
    (line,) = axes.lines
    assert line.get_xydata() == pytest.approx(np.array([[10.0, 2.0], [20.0, 2.0]]))
    assert line.get_color() == PALETTE[1]
    (shade,) = axes.collections
    assert shade.get_paths()[0].get_extents().y0 == pytest.approx(1.0)
    assert learning_curves([]) is None
    assert learning_curves([Series("a", 0, band([]))]) is None


def test_a_single_point_is_a_number_on_an_axis_around_it():
    figure: Any = learning_curves([Series("a", 0, band([[(500, 0.85)]]))])
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 0.6 < low < 0.85 < high < 1.0
    assert "0.85" in [text.get_text() for text in axes.texts]
    several: Any = learning_curves([series()])
    assert not several.axes[0].texts


def test_an_interval_that_would_flatten_the_curves_is_cut_off():
    wide = Series("a", 0, band([[(10, 0.0), (20, -999.0)], [(10, 1.0), (20, 1001.0)]]))
    figure: Any = learning_curves([wide])
    low, high = figure.axes[0].get_ylim()
    assert -1 < low < 0.5
    assert 1 < high < 2


def test_a_chart_within_a_page_is_the_same_text_each_time_and_asks_for_nothing():
    texts = [chart_html(dots(), "y <i>") for _ in range(2)]
    assert texts[0] == texts[1]
    (text, _) = texts
    assert text.startswith('<svg class="chart" role="img" aria-label="y &lt;i&gt;" viewBox=')
    assert text.endswith("</svg>")
    assert "&lt;b&gt;" in text
    assert not re.search(r"https?:|<b>|<i>|<style|<metadata|url\(|<!", text)
    # in the colours of the page, which change with its theme
    assert "var(--s0)" in text
    assert PALETTE[0] not in text


def test_charts_of_a_page_share_no_name():
    names = [set(re.findall(r' id="([^"]+)"', chart_html(dots(end), "y"))) for end in (2.0, 3.0)]
    assert names[0]
    assert not names[0] & names[1]


def test_an_animation_is_on_paper_what_it_ends_with():
    written = io.BytesIO()
    begin, end = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    begin.save(written, "GIF", save_all=True, append_images=[end])
    html = animation_html(written.getvalue(), "a & b")
    assert html.count('alt="a &amp; b"') == 2
    (still,) = re.findall(r'class="picture still [^"]*"[^>]*src="data:image/png;base64,([^"]+)"', html)
    with Image.open(io.BytesIO(base64.b64decode(still))) as picture:
        assert picture.convert("RGB").getpixel((4, 4)) == (0, 0, 255)


def test_pictures_are_part_of_the_page():
    picture = pixels(dots())
    assert picture.dtype == np.uint8
    text = picture_html(picture, "a <b>")
    assert 'alt="a &lt;b&gt;" src="data:image/png;base64,' in text
