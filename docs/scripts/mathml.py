"""Typesets the formulas of the pages: LaTeX becomes MathML when the site is built. An extension of Markdown.

A formula stands in a block ```math, or in a line between $` and `$. Both are what code hosts typeset, and
where nothing does, a formula is still code to be read. No script goes into the page.
"""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor

BLOCK = re.compile(r'<pre class="math"><code>(.*?)</code></pre>', re.DOTALL)
INLINE = re.compile(r"\$<code>(.*?)</code>\$")
PART = r"(<mi[^>]*>[^<]*</mi>|<mrow>(?:<mi[^>]*>[^<]*</mi>)*</mrow>)"
PRIME = "<mi>&#x02032;</mi>"
PRIMED = re.compile(f"<msup>{PART}{PRIME}</msup>")
PRIMED_WITH_INDEX = re.compile(f"<msubsup>{PART}{PART}{PRIME}</msubsup>")
SIGN = '<mo lspace="0" rspace="0">&#x02032;</mo>'


def mathml(latex: str, display: str) -> str:
    """A formula. Primes stand beside their letter, since most fonts have none that is made to be raised.

    Raises ValueError for a command that the converter does not know, which it would pass on as a letter.
    """
    markup = convert(latex, display=display)
    if "\\" in markup:
        raise ValueError(f"{latex!r} holds a command that latex2mathml does not know: {markup}")
    markup = PRIMED.sub(rf"<mrow>\1{SIGN}</mrow>", markup)
    return PRIMED_WITH_INDEX.sub(rf"<msub><mrow>\1{SIGN}</mrow>\2</msub>", markup)


class Formulas(Postprocessor):
    """The blocks and spans of a page that hold LaTeX."""

    def run(self, text: str) -> str:
        text = BLOCK.sub(lambda found: mathml(html.unescape(found[1]).strip(), "block"), text)
        return INLINE.sub(lambda found: mathml(html.unescape(found[1]), "inline"), text)


class MathML(Extension):
    """Runs after all others: code is in its place by then."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.postprocessors.register(Formulas(md), "mathml", 0)


def makeExtension(**settings: object) -> MathML:  # noqa: N802
    return MathML(**settings)
