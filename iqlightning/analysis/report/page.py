"""The page around the report's sections: style sheet for light and dark, wide and narrow, and nothing from outside."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Section", "page"]


class Section(NamedTuple):
    """A part of the report: an anchor, a heading and its HTML."""

    anchor: str
    heading: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole document.

    Args:
        title: plain text.
        lead: HTML below the title.
        sections: those with an empty body are left out.
    """
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#{section.anchor}">{escape(section.heading)}</a>' for section in shown)
    bodies = "".join(
        f'<section id="{section.anchor}"><h2>{escape(section.heading)}</h2>{section.body}</section>'
        for section in shown
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # no request leaves the page, whatever a label may contain
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><header><h1>{escape(title)}</h1>{lead}"
        f"<nav>{links}</nav></header><main>{bodies}</main><script>{_SCRIPT}</script></body></html>"
    )


_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#22262a;--faint:#5f666d;--rule:#e3e5e8;--card:#f7f7f5;--mark:#fff3c9;
--edge:#0003;--floor:#f2f0eb;--mesh:#fff;--wall:#343a40;--player:#d62d2d;--goal:#ffcd28;--detour:#d62d2d;--arrow:#15181b;
--s0:#2f67c9;--s1:#c8641b;--s2:#23895a;--s3:#a8438f;--s4:#7a6a1f;--s5:#5d52c4;--s6:#b3303f;--s7:#2b8595}
@media (prefers-color-scheme:dark){:root{--page:#16191d;--ink:#e4e6e8;--faint:#9aa2aa;--rule:#30353b;--card:#1e2227;
--mark:#4a3f16;--edge:#0009;--floor:#3b424a;--mesh:#2c3137;--wall:#0d0f12;--arrow:#e4e6e8;--detour:#ff5a52;--s0:#7aa5f5;--s1:#f0984f;--s2:#5cc896;--s3:#df86c8;
--s4:#cdb94e;--s5:#a59cf5;--s6:#f07a86;--s7:#63c3d3}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main{max-width:1120px;margin:0 auto;padding:0 16px}
h1{font-size:1.7rem;margin:24px 0 4px}h2{font-size:1.3rem;margin:0 0 6px}
h3{font-size:1rem;margin:18px 0 6px}p{margin:6px 0 10px;max-width:75ch}
header p{color:var(--faint)}nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:10px 0 0}a{color:var(--s0)}
section{padding:22px 0;border-top:1px solid var(--rule);margin-top:22px}
.study{color:var(--faint);font-size:.9rem}.study b{font-weight:600}
.scroll{overflow-x:auto;background:linear-gradient(to left,var(--page) 30%,transparent) right/36px 100% no-repeat local,
linear-gradient(to left,var(--edge),transparent) right/14px 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.88rem;min-width:100%}
th,td{padding:5px 10px 5px 0;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top}
th{font-weight:600;white-space:nowrap;vertical-align:bottom}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.other td{color:var(--faint)}td.best{font-weight:700}td.best small{font-weight:400}
td.differs{background:var(--mark);box-shadow:-4px 0 var(--mark)}
small{color:var(--faint);font-size:.8rem}details{margin:8px 0}summary{cursor:pointer;color:var(--s0)}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0}.key span{display:inline-flex;align-items:center;gap:6px}
.key i{width:18px;height:4px;border-radius:2px;flex:none}
.dot{display:inline-block;width:10px;height:10px;border-radius:5px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px}
figure{margin:0}figcaption{font-size:.85rem;line-height:1.35;margin-top:4px}figcaption b{font-weight:600}
.chart{width:100%;height:auto;display:block;background:var(--card);border-radius:8px}
.chart text{font:11px system-ui,sans-serif;fill:var(--faint)}.chart .axis{fill:var(--ink)}
.rule{stroke:var(--rule)}.reference{stroke:var(--faint);stroke-dasharray:4 3}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.band{opacity:.18}.whisker{stroke-width:2.5;opacity:.55}
.share{fill:var(--rule)}.thin{stroke-width:2}.thick{stroke-width:11;opacity:.6}.median{stroke:var(--ink);stroke-width:2.5}
.bar{width:96px;height:14px;display:block}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(46%,190px),1fr));gap:14px;align-items:start}
.name{white-space:nowrap;position:sticky;left:0;background:var(--page)}th.setting{white-space:normal;
min-width:6em}.tiles.four{grid-template-columns:repeat(4,minmax(0,250px))}
.tiles.six{grid-template-columns:repeat(6,minmax(0,190px))}
@media (max-width:640px){.bars{display:none}.tiles.four{grid-template-columns:repeat(2,minmax(0,1fr))}
.tiles.six{grid-template-columns:repeat(3,minmax(0,1fr));gap:8px}.tiles figcaption{font-size:.75rem}}
.grid{width:100%;height:auto;max-height:340px;display:block;border-radius:5px}
.cells{image-rendering:pixelated}.floor{fill:var(--floor)}.mesh{stroke:var(--mesh);stroke-width:.035;fill:none}
.wall{fill:var(--wall)}.goal{fill:var(--goal);stroke:#7a5c00;stroke-width:.05}.player{fill:var(--player);stroke:#fff;stroke-width:.06}
.arrow{stroke:var(--arrow);stroke-width:.11;fill:none;stroke-linecap:round;stroke-linejoin:round}
.arrow.detour{stroke:var(--detour);stroke-width:.15}
.path{fill:none;stroke:var(--player);stroke-width:.13;stroke-linecap:round;stroke-linejoin:round;opacity:.85}
.ring{fill:none;stroke:#111;stroke-width:.1}.qs path{stroke:#0004;stroke-width:.02}
.qs .best{stroke:#111;stroke-width:.06}
.scale{display:flex;align-items:center;gap:6px;font-size:.8rem;color:var(--faint);margin:4px 0 8px;flex-wrap:wrap}
.scale i{width:110px;height:10px;border-radius:3px}
.failed .grid{outline:2px solid var(--player);outline-offset:1px}
""" + "".join(f".c{n}{{stroke:var(--s{n})}}.f{n}{{fill:var(--s{n})}}.b{n}{{background:var(--s{n})}}" for n in range(8))

# who asked for less motion gets players that stand at their start
_SCRIPT = (
    "if(matchMedia('(prefers-reduced-motion: reduce)').matches)"
    "document.querySelectorAll('svg').forEach(svg=>svg.pauseAnimations())"
)
