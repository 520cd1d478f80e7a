"""A card as one HTML file: no network, no script, light and dark by the reader's setting, readable on a phone."""

from __future__ import annotations

import re
from functools import singledispatch
from html import escape
from importlib.resources import files

from sparsebench.report.cards.blocks import Bullets, Card, Code, Curves, Section, Table, Text
from sparsebench.report.cards.drawing import draw

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · sparsebench</title>
<style>
{style}</style>
</head>
<body>
<header>
<p class="of">sparsebench card</p>
<h1>{title}</h1>
<p class="tagline">{tagline}</p>
<nav>{links}</nav>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def page(card: Card) -> str:
    """The whole page."""
    links = "".join(f'<a href="#{_anchor(s.title)}">{escape(s.title)}</a>' for s in card.sections if s.level == 2)
    return PAGE.format(
        title=escape(card.title),
        style=files(__package__).joinpath("card.css").read_text(encoding="utf-8"),
        tagline=inline(card.tagline),
        links=links,
        sections="\n".join(map(_section, card.sections)),
    )


def _section(section: Section) -> str:
    kind = "part" if section.level > 2 else "whole"
    body = "\n".join(write(block) for block in section.blocks)
    head = f"<h{section.level}>{escape(section.title)}</h{section.level}>"
    return f'<section id="{_anchor(section.title)}" class="{kind}">\n{head}\n{body}\n</section>'


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def inline(text: str) -> str:
    """Text with its code, strong words and links.

    >>> inline("`a<b` is **so**, see [it](https://x.org)")
    '<code>a&lt;b</code> is <strong>so</strong>, see <a href="https://x.org">it</a>'
    """
    text = escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>', text)


@singledispatch
def write(block) -> str:
    raise TypeError(f"no HTML for {type(block).__name__}")


@write.register
def _(block: Text) -> str:
    return f"<p>{inline(block.text)}</p>"


@write.register
def _(block: Code) -> str:
    lines = "\n".join(map(escape, block.lines))
    return f'<pre class="{escape(block.language)}">{lines}</pre>'


@write.register
def _(block: Bullets) -> str:
    return "<ul>" + "".join(f"<li>{inline(item)}</li>" for item in block.items) + "</ul>"


@write.register
def _(block: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        number = ['class="number"' if column in block.numbers else "" for column in range(len(cells))]
        inside = "".join(f"<{tag} {n}>{inline(c)}</{tag}>" for c, n in zip(cells, number, strict=True))
        return f"<tr>{inside}</tr>".replace(" >", ">")

    head = f"<thead>{row(block.header, 'th')}</thead>" if any(block.header) else ""
    body = "".join(row(cells, "td") for cells in block.rows)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


@write.register
def _(block: Curves) -> str:
    if not block.curves:
        return ""
    return '<div class="curves">' + "".join(map(draw, block.curves)) + "</div>"
