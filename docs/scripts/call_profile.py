"""Where the time of a whole call goes: the table of what `benchmarks/profile_calls.py` has written.

python docs/scripts/call_profile.py
"""

import json

from blocks import put
from prediction_faithfulness import BENCHMARKS, PAGE

from ligflow.corpus.reports.markdown import table

RESULTS = BENCHMARKS / "results" / "profile_calls.json"
SHARES = {
    "matrix products": "products",
    "other operations": "elements",
    "the rule": "rule",
    "runs and checks": "checks",
    "comparisons": "tables",
    "Python": "python",
}


def main() -> None:
    """Puts the table into the page."""
    rows = json.loads(RESULTS.read_text())["rows"]
    cells = [
        [
            row["what"],
            str(row["tokens"]),
            f"{row['seconds']:.2f}",
            *(f"{row[key]:.0%}" for key in SHARES.values()),
        ]
        for row in rows
    ]
    put(PAGE.with_name("performance.md"), {"profile": table(["call", "tokens", "CPU, s", *SHARES], cells)})


if __name__ == "__main__":
    main()
