"""Formulas become MathML when the site is built: browsers draw it without a script, a font or a network."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """Return the page with what arithmatex marked as LaTeX drawn."""
    return _FORMULA.sub(_drawn, html)


def _drawn(formula: re.Match[str]) -> str:
    kind, bracket, latex = formula.groups()
    mathml = convert(unescape(latex), display="block" if bracket == "[" else "inline")
    return f'<{kind} class="formula">{mathml}</{kind}>'
