"""Documents and genres of the sentences of a CoNLL-U file."""

import pytest

from ligflow.corpus.sources.dependencies import conllu_blocks

WORD = "1\tRain\train\tNOUN\t_\t_\t0\troot\t_\t_\n\n"


@pytest.mark.parametrize(
    ("comments", "known"),
    [
        (["", "# newdoc id = a_b\n", ""], [(None, None), ("a_b", None), ("a_b", None)]),
        (["# newdoc id = weblog-one.two\n", ""], [("weblog-one.two", "weblog")] * 2),
        (
            ["# newdoc id = GUM_news_x\n# meta::genre = news\n", "", "# newdoc\n"],
            [("GUM_news_x", "news"), ("GUM_news_x", "news"), ("file:7", None)],
        ),
        (["# newdoc id = a-b\n# genre = fiction\n# text = Rain\n"], [("a-b", "fiction")]),
        (["# newdoc id = 2004-05\n"], [("2004-05", None)]),
        (["#newdoc id=a\n# newdocs = b\n# subgenre = c\n"], [("a", None)]),
    ],
)
def test_a_sentence_knows_its_document_and_genre(
    comments: list[str], known: list[tuple[str | None, str | None]]
) -> None:
    text = "".join(comment + WORD for comment in comments)
    found = list(conllu_blocks(enumerate(text.splitlines(), 1), "file"))  # type: ignore[arg-type]
    assert [(one.document, one.genre) for one in found] == known  # type: ignore[union-attr]
