"""Options of the commands that explain predictions."""

from __future__ import annotations

from typing import Annotated

from ligflow.cli.options import METHOD, choice
from ligflow.names import HELD, SCORES

Score = Annotated[str, choice("--score", SCORES, "What of the answer is explained", METHOD)]
Attention = Annotated[
    str, choice("--attention", HELD["attention"], "Attention weights along the path", METHOD)
]
Experts = Annotated[
    str, choice("--experts", HELD["experts"], "Experts chosen anew along the path, or held", METHOD)
]
