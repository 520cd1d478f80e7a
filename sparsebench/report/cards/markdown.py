"""A card as Markdown."""

from __future__ import annotations

from functools import singledispatch

from sparsebench.report.cards.blocks import Bullets, Card, Code, Curves, Table, Text


def page(card: Card) -> str:
    """The whole page, ending with a newline."""
    parts = [f"# `{card.title}`", card.tagline]
    for section in card.sections:
        parts.append(f"{'#' * section.level} {section.title}")
        parts += [text for block in section.blocks if (text := write(block))]
    return "\n\n".join(filter(None, parts)) + "\n"


@singledispatch
def write(block) -> str:
    raise TypeError(f"no Markdown for {type(block).__name__}")


@write.register
def _(block: Text) -> str:
    return block.text


@write.register
def _(block: Code) -> str:
    return "\n".join([f"```{block.language}", *block.lines, "```"])


@write.register
def _(block: Bullets) -> str:
    return "\n".join(f"- {item}" for item in block.items)


@write.register
def _(block: Curves) -> str:
    return ""


@write.register
def _(block: Table) -> str:
    rule = ["---:" if column in block.numbers else ":---" for column in range(len(block.header))]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (block.header, rule, *block.rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
