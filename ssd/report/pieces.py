"""Pieces of HTML and the page that they make.

What comes from files is escaped here; headings and classes of the style sheet are ours.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ssd.report.drawing import printable

SHOWN = 20  # bars of a chart
STYLE = Path(__file__).with_name("page.css")


class Figure(NamedTuple):
    """A picture of the page and what is under it."""

    jpeg: bytes
    caption: str


class Fact(NamedTuple):
    """A number at the top of the page."""

    value: str
    what: str
    section: str  # that says more
    mood: str = ""  # good or bad


def safe(text: Any) -> str:
    return escape(printable(str(text)))


def empty(text: str) -> str:
    return f'<p class="empty">{safe(text)}</p>'


def items(texts: Iterable[str]) -> str:
    """A list, or nothing of nothing."""
    rows = "".join(f"<li>{safe(text)}</li>" for text in texts)
    return f"<ul>{rows}</ul>" if rows else ""


def facts(all: Sequence[Fact]) -> str:
    links = "".join(
        f'<a href="#{fact.section}"><b class="{fact.mood}">{safe(fact.value)}</b>'
        f'<span class="soft">{safe(fact.what)}</span></a>'
        for fact in all
    )
    return f'<nav class="facts">{links}</nav>'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{safe(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(f'<td>{safe(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def described(rows: Sequence[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """What things are, in words that may be long."""
    top = "".join(f"<th>{safe(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(f'<td>{safe(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="words">{f"<tr>{top}</tr>" if head else ""}{body}</table>'


def halves(left: str, right: str) -> str:
    """Two parts beside each other, or on a phone one below the other."""
    return f'<div class="charts"><div>{left}</div><div>{right}</div></div>'


def bars(rows: Sequence[tuple[str, float | None, str]]) -> str:
    """Name, share of the whole bar, and what it says at its end; many are folded away."""
    if len(rows) > SHOWN:
        left = len(rows) - SHOWN
        rest = "".join(bars(rows[at : at + SHOWN]) for at in range(SHOWN, len(rows), SHOWN))
        more = f"<details><summary>{left} more</summary>{rest}</details>"
        return bars(rows[:SHOWN]) + more
    cells = "".join(
        f'<span>{safe(name)}</span><span class="track"><i style="width:{100 * (share or 0):.1f}%">'
        f"</i></span><span>{safe(says)}</span>"
        for name, share, says in rows
    )
    return f'<div class="bars">{cells}</div>'


def heat(rows: Sequence[Sequence[float]]) -> str:
    """A plan of shares; the darkest cell is the fullest."""
    most = max((share for row in rows for share in row), default=0) or 1
    cells = "".join(f'<i style="opacity:{share / most:.2f}"></i>' for row in rows for share in row)
    return f'<div class="heat">{cells}</div>'


def shown(figure: Figure) -> str:
    data = base64.b64encode(figure.jpeg).decode()
    caption = safe(figure.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def gallery(figures: Sequence[Figure], kind: str = "gallery") -> str:
    """kind: gallery of small pictures, or pairs of those that are two beside each other"""
    if not figures:
        return ""
    return f'<div class="{kind}">{"".join(map(shown, figures))}</div>'


def charts(drawn: Sequence[tuple[bytes, str, bool]]) -> str:
    """PNGs with their captions, those that are wide over the whole width."""
    cells = "".join(
        f'<figure class="{"wide" if wide else ""}"><div class="scroll"><img alt="{safe(caption)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></div>'
        f"<figcaption>{safe(caption)}</figcaption></figure>"
        for png, caption, wide in drawn
    )
    return f'<div class="charts">{cells}</div>'


def pairs(figures: Sequence[tuple[Figure, Figure]]) -> str:
    cells = "".join(f'<div class="pair">{shown(a)}{shown(b)}</div>' for a, b in figures)
    return f'<div class="pairs">{cells}</div>' if cells else ""


def write_page(path: Path, title: str, top: str, sections: Mapping[str, tuple[str, str]]) -> None:
    """Write a page that needs nothing beside it.

    top: HTML under the title; sections: their heading and HTML, by the id that links lead to
    """
    body = "".join(
        f'<section id="{id}"><h2>{heading}</h2>{content}</section>\n'
        for id, (heading, content) in sections.items()
    )
    path.write_text(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title)}</title><style>{STYLE.read_text()}</style></head>\n"
        f"<body><h1>{safe(title)}</h1>{top}\n{body}</body></html>\n",
        encoding="utf-8",
    )
