"""Parts: the sections of a card that say what a method is: definition, sources, traits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sparsebench.registry import Entry
from sparsebench.report.cards.blocks import Block, Bullets, Code, Section, Table, Text
from sparsebench.report.cards.subject import Subject
from sparsebench.report.cards.words import Words, words

TRAITS = {
    "needs": {
        "weight": "scored from the weights alone",
        "random": "scored by a seeded generator",
        "gradient": "scored from weights and the gradient of the loss, mean over examples and processes",
        "model": "scored by looking at the whole network at once",
        "norm": "scored from the batch norm behind each unit",
    },
    "structure": {"units": "takes whole filters, neurons and attention heads out of the network"},
    "mode": {
        "train": "the network is in training mode while it is scored",
        "eval": "the network is in evaluation mode while it is scored",
    },
    "per_class": "{} un-augmented training images of every class",
    "examples": "{} un-augmented training images (all, if there are fewer)",
    "batch": "in mini-batches of {}, on which the scores depend",
    "rounds": "{} scorings, the density falls geometrically over them",
    "floor": "keeps at least {} weight in every tensor under the global ranking",
    "within_layer_order": "within a layer it ranks as {} does",
    "allocation": "goes with the allocation {} where none is written",
    "allocations": "makes sense with the allocations {} only",
    "per_layer": {True: "scores are divided by their layer's mean under one global ranking"},
    "accumulates": {True: "scores add up over training steps"},
    "second_order": {True: "uses second-order information"},
    "moves_weights": {True: "changes the weights it keeps"},
    "dtype": "computes in {}",
    "regime": "goes with the regime {} where none is written",
    "criterion": {"none": "has a rule of its own and takes no criterion"},
    "single_round": {True: "refuses criteria that prune in several rounds"},
    "scoring": "chooses weights by: {}",
    "count": "count: {}",
}


def about(subject: Subject) -> Iterator[Section]:
    """Definition, sources, traits and phases."""
    said = [(entry, words(entry)) for entry in subject.entries]
    yield Section("Definition", tuple(_definitions(said)))
    if sources := [_source(entry, w) for entry, w in said if w.sources or w.papers]:
        yield Section("Sources", (Bullets(tuple(sources)),))
    if rows := [(e.kind, e.name, trait) for e, _ in said for trait in traits(e)]:
        yield Section("Traits", (Table(("part", "name", "trait"), tuple((r, f"`{n}`", t) for r, n, t in rows)),))


def _definitions(said: Sequence[tuple[Entry, Words]]) -> Iterator[Block]:
    for entry, w in said:
        name = f"{entry.kind} `{entry.name}`" + (f" ({w.title})" if w.title.lower() != entry.name.lower() else "")
        body = " ".join(filter(None, [_sentence(w.tagline), *(p for p in w.definition if not p[0].isdigit())]))
        yield Text(f"**{name[0].upper()}{name[1:]}.** {body}")
        if numbered := tuple(p.partition(". ")[2] for p in w.definition if p[0].isdigit()):
            yield Bullets(numbered)
        if w.formula:
            yield Code(w.formula)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if not text or text.endswith((".", ":")) else f"{text}."


def _source(entry: Entry, w: Words) -> str:
    """The sources with their papers as links; a paper that only the decorator names comes last."""
    text = "; ".join(w.sources)
    links = {paper: f"[arXiv:{paper}](https://arxiv.org/abs/{paper})" for paper in w.papers}
    for paper, link in links.items():
        text = re.sub(rf"(?:arXiv:)?{re.escape(paper)}", lambda _, link=link: link, text)
    rest = [link for paper, link in links.items() if paper not in text]
    return f"`{entry.name}`: " + ", ".join(filter(None, [text, *rest]))


def traits(entry: Entry) -> Iterator[str]:
    """What the decorator says, in words; a trait that has none yet is shown as it is written."""
    for name, value in entry.traits.items():
        if name in ("name", "paper"):
            continue
        how = TRAITS.get(name, f"{name}: {{}}")
        listed = ", ".join(map(str, value)) if isinstance(value, tuple | list) else value
        if isinstance(how, str):
            yield how.format(listed)
        elif value in how:
            yield how[value]
