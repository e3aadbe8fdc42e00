"""The page around the report's sections: style sheet for light and dark, wide and narrow, and nothing from outside."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from iqlightning.analysis.charts import DASHES, FAINT, INK, PALETTE, RULE

__all__ = ["Section", "page"]


class Section(NamedTuple):
    """A part of the report: an anchor, a heading and its HTML."""

    anchor: str
    heading: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section], generator: str = "iqlightning") -> str:
    """The whole document: a plain title, HTML below it, and the sections whose body is not empty.

    ``generator`` says which program made it.
    """
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#{section.anchor}">{escape(section.heading)}</a>' for section in shown)
    bodies = "".join(
        f'<section id="{section.anchor}"><details open><summary><h2>{escape(section.heading)}</h2></summary>'
        f"{section.body}</details></section>"
        for section in shown
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="{escape(generator)}">'
        # no request leaves the page, whatever a label may contain
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><header><h1>{escape(title)}</h1>{lead}"
        f'<nav aria-label="sections">{links}</nav></header><main>{bodies}</main></body></html>'
    )


def _dashed(cycle: int) -> str:
    """A rule of the style sheet: of a stroke in the key, the dashes of the curves."""
    lengths, stops, end = DASHES[cycle], [], 0.0
    for number, length in enumerate(lengths):
        stops.append(f"{'#0000' if number % 2 else '#000'} {end:g}px {end + 2 * length:g}px")
        end += 2 * length
    mask = f"repeating-linear-gradient(90deg,{','.join(stops)})"
    return f".d{cycle}{{-webkit-mask:{mask};mask:{mask};border-radius:0}}"


# colours in the light are those that charts are drawn with
_LIGHT = {
    "page": "#fff",
    "card": "#f7f7f5",
    "mark": "#fff3c9",
    "edge": "#0003",
    "ink": INK,
    "faint": FAINT,
    "rule": RULE,
}
_LIGHT |= {f"s{n}": colour for n, colour in enumerate(PALETTE)}

_STYLE = (
    f":root{{color-scheme:light dark;{';'.join(f'--{name}:{colour}' for name, colour in _LIGHT.items())}}}"
    + """
@media screen and (prefers-color-scheme:dark){:root{--page:#16191d;--ink:#e4e6e8;--faint:#9aa2aa;--rule:#30353b;
--card:#1e2227;--mark:#4a3f16;--edge:#0009;--s0:#7aa5f5;--s1:#f0984f;--s2:#5cc896;--s3:#df86c8;
--s4:#cdb94e;--s5:#a59cf5;--s6:#f07a86;--s7:#63c3d3}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main{max-width:1120px;margin:0 auto;padding:0 16px}
h1{font-size:1.7rem;margin:24px 0 4px;overflow-wrap:anywhere}h2{font-size:1.3rem;margin:0 0 6px}
h3{font-size:1rem;margin:18px 0 6px;overflow-wrap:anywhere}p{margin:6px 0 10px;max-width:75ch;overflow-wrap:anywhere}
header p{color:var(--faint)}nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:10px 0 0}a{color:var(--s0)}
section{padding:22px 0;border-top:1px solid var(--rule);margin-top:22px}
.scroll{overflow-x:auto;background:linear-gradient(to left,var(--page) 30%,transparent) right/36px 100% no-repeat local,
linear-gradient(to left,var(--edge),transparent) right/14px 100% no-repeat scroll}
.scroll+.scroll,.charts+.scroll{margin-top:16px}
table{border-collapse:collapse;font-size:.88rem;min-width:100%}
th,td{padding:5px 10px 5px 0;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top}
th{font-weight:600;white-space:pre}thead>tr>*{vertical-align:bottom}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}thead th.n{white-space:pre}
tr.other td,tr.other th{color:var(--faint)}td.best{font-weight:700}td.best small{font-weight:400}
td.differs{background:var(--mark);box-shadow:-4px 0 var(--mark)}
small{color:var(--faint);font-size:.9em}details{margin:8px 0}section>details{margin:0}
summary{cursor:pointer;color:var(--s0)}summary h2,summary h3{display:inline;color:var(--ink)}
details details>summary{padding:5px 0}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0}
.key span{display:inline-flex;align-items:center;gap:6px;overflow-wrap:anywhere}
.key i,.stroke{width:22px;height:4px;border-radius:2px;flex:none}
.dot,.stroke{display:inline-block}.dot{width:10px;height:10px;border-radius:5px}.stroke{vertical-align:middle}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px}
.charts.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,150px),1fr))}
figure{margin:0}figcaption{font-size:.85rem;line-height:1.35;margin-top:4px;overflow-wrap:anywhere}
figcaption b{font-weight:600}
.chart{width:100%;height:auto;display:block;background:var(--card);border-radius:8px}
.chart text{font-family:inherit!important}.chart *{stroke-linejoin:round;stroke-linecap:butt}
.picture{max-width:100%;height:auto;display:block;border-radius:8px}.picture.small{max-width:760px;width:100%}
.still{display:none}@media print,(prefers-reduced-motion:reduce){.still{display:block}.moving{display:none}}
.bar{width:96px;height:14px;position:relative;
background:linear-gradient(var(--rule),var(--rule)) center/100% 1px no-repeat}
.bar i{position:absolute;top:5px;height:4px;opacity:.55}
.bar b{position:absolute;top:4px;width:6px;height:6px;margin-left:-3px;border-radius:3px}
.name{position:sticky;left:0;background:var(--page);min-width:9em;max-width:20em}
th.name{font-weight:400;white-space:normal;overflow-wrap:anywhere}thead th.name{font-weight:600}
th.setting{white-space:normal;min-width:6em}td.apart{min-width:20em}
@media (min-width:641px){td.policy{white-space:nowrap}}
@media (max-width:640px){.bars{display:none}.name{max-width:11em}}
@media print{*{print-color-adjust:exact;-webkit-print-color-adjust:exact}@page{margin:12mm}
body{font-size:10pt}header,main{max-width:none;padding:0}nav{display:none}section{margin-top:8px;padding:8px 0}
.scroll{overflow:visible;background:none}.name{position:static;min-width:0}table{font-size:7.5pt}
th,td{padding:2px 5px 2px 0}pre{white-space:pre-wrap;overflow-wrap:anywhere}
h2,h3,summary{break-after:avoid}tr,figure,.picture{break-inside:avoid}.charts{grid-template-columns:1fr 1fr}
.charts.small{grid-template-columns:repeat(4,1fr)}
details::details-content{content-visibility:visible;display:block;height:auto}summary{list-style:none}
details.more{display:none}}
"""
    + "".join(f".b{n}{{background:var(--s{n})}}" for n in range(len(PALETTE)))
    + "".join(_dashed(n) for n in range(1, len(DASHES)))
)
