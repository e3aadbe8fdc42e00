"""Figures and pictures as HTML that asks for nothing from outside."""

import base64
import io
import re
from hashlib import sha256
from html import escape
from itertools import islice

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from iqlightning.analysis.charts import FAINT, INK, PALETTE, RULE, literal

__all__ = ["animation_html", "chart_html", "picture_html"]

# colours that the page's style sheet gives another value in the dark
_THEMED = {INK: "ink", FAINT: "faint", RULE: "rule"} | {colour: f"s{n}" for n, colour in enumerate(PALETTE)}


_MOST_FRAMES = 10_000  # of an animation that are looked at


def chart_html(figure: Figure, title: str) -> str:
    """The figure as SVG within the page, in the page's colours and font; the same figure is always the same text.

    Args:
        figure: drawn with :mod:`iqlightning.analysis.charts`; nothing may need to be clipped to its axes.
        title: read out by screen readers.
    """
    for artist in literal(figure).findobj():
        artist.set_clip_on(False)
    written = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(written, format="svg", transparent=True)
    text = written.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    # without the prologue, with its addresses, and the style sheet, which would apply to the whole page
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    # what is referred to needs a name of its own among all charts of the page
    own = f"c{sha256(f'{title}{body}'.encode()).hexdigest()[:8]}"
    body = re.sub(r'(id="|"#)(m[0-9a-f]+)"', rf'\g<1>{own}\2"', body)
    body = re.sub("|".join(_THEMED), lambda colour: f"var(--{_THEMED[colour[0]]})", body)
    body = re.sub(r">\s+<", "><", body)
    return f'<svg class="chart" role="img" aria-label="{escape(title)}" {box[0]}>{body.strip()}'


def picture_html(picture: UInt8[np.ndarray, "height width rgb"], label: str, kind: str = "") -> str:
    """An RGB array as an image; ``label`` is read out by screen readers, ``kind`` is a class of the style sheet."""
    return f'<img class="picture {kind}" alt="{escape(label)}" src="{_png(Image.fromarray(picture))}">'


def animation_html(gif: bytes, label: str, kind: str = "") -> str:
    """An animated GIF; on paper, and for who asked for less motion, its last picture, which tells how it ended."""
    image = Image.open(io.BytesIO(gif))
    for _ in islice(ImageSequence.Iterator(image), _MOST_FRAMES):
        pass  # a frame of a GIF is what changes since the one before it
    moving = f"data:image/gif;base64,{base64.b64encode(gif).decode()}"
    return (
        f'<img class="picture moving {kind}" alt="{escape(label)}" src="{moving}">'
        f'<img class="picture still {kind}" alt="{escape(label)}" src="{_png(image)}">'
    )


def _png(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
