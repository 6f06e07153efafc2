import io
import re
from dataclasses import replace

from rich.console import Console

from ligflow.view.features import fragment, report
from results.test_features import features


def printed(count: int = 8) -> str:
    stream = io.StringIO()
    report(features(), Console(file=stream, width=120), count)
    return stream.getvalue()


def test_the_strongest_features_come_first_with_what_is_beside_them():
    lines = printed().splitlines()
    assert lines[0].startswith("features of small at blocks.1.hook_resid_post")
    assert re.search(r"^days \(4\) at ‘b’ \(1\) +-2.00 +-50% +0 +2", lines[2])
    assert "contributes -0.500, -0.500 of it through 9 features" in printed()
    assert "what the dictionary does not explain: +0.00" in printed()
    assert "unexplained: 12% of all that speaks for and against here" in printed()


def test_what_is_not_listed_is_said():
    assert "not listed" not in printed()
    assert "what is not listed of features: +1.50 together" in printed(1)


def test_a_page_escapes_names_and_links_only_to_pages():
    bad = {4: ("<b>x</b>", 'https://example.org/"><script>'), 7: ("y", "javascript:alert(1)")}
    page = fragment(replace(features(), names=bad))
    assert "<b>" not in page
    assert "<script" not in page
    assert "javascript:" not in page
    assert "&lt;b&gt;x&lt;/b&gt; (4) at ‘b’ (1)" in page
    assert 'href="https://example.org/' in page
