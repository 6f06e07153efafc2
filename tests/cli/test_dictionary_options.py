"""A file of tensors is read with what the options say of it, and is refused in terms of the options."""

from pathlib import Path

import numpy as np
import pytest

from ligflow.cli.dictionary_options import Named
from ligflow.cli.usage_errors import Usage

DICTIONARIES = Path(__file__).parents[1] / "dictionaries" / "recorded"
HOOK = "blocks.20.hook_resid_post"


def tensors(folder: Path, jumps: bool = False) -> Path:
    """A file of 3 features of vectors of 2 numbers, as Gemma Scope has them where they jump."""
    parts = {"W_enc": np.eye(2, 3), "W_dec": np.eye(3, 2), "b_enc": np.zeros(3), "b_dec": np.ones(2)}
    path = folder / "params.npz"
    np.savez(path, **parts, **({"threshold": np.ones(3)} if jumps else {}))
    return path


@pytest.mark.parametrize("centred", ["no", "yes"])
def test_a_file_of_tensors_stands_where_the_hook_says(tmp_path: Path, centred: str) -> None:
    (dictionary,) = Named([tensors(tmp_path, jumps=True)], hook=HOOK, centred=centred).read()
    assert (dictionary.hook.name, dictionary.source.name, dictionary.centred) == (
        HOOK,
        HOOK,
        centred == "yes",
    )


def test_what_a_transcoder_encodes_and_how_many_are_active(tmp_path: Path) -> None:
    source = "blocks.20.ln2.hook_normalized"
    named = Named([tensors(tmp_path)], hook="blocks.20.hook_mlp_out", source=source, k=2)
    (dictionary,) = named.read()
    assert (dictionary.source.name, dictionary.activation.k) == (source, 2)
    assert Named([DICTIONARIES / "jump", DICTIONARIES / "gated"]).read()[1].name == "gated"


def test_refusals_name_the_options(tmp_path: Path) -> None:
    path = tensors(tmp_path, jumps=True)
    for named, said in (
        (Named([path]), "say where they stand: --feature-hook 'blocks.5.hook_resid_post'"),
        (Named([path], hook=HOOK), "give --feature-centred no (Gemma Scope) or --feature-centred yes"),
        (Named([path], hook="blocks.20.hook_none", centred="yes"), "blocks.20.hook_none"),
        (
            Named([path], hook=HOOK, centred="yes", k=9),
            "k is 9; give a whole number from 1 to its 3 features",
        ),
        (Named([DICTIONARIES / "jump"], k=2), "leave --feature-k out"),
        (Named([DICTIONARIES / "jump"], centred="yes"), "leave --feature-centred out"),
    ):
        with pytest.raises(Usage, match=r"(?s).") as refusal:
            named.read()
        assert said in str(refusal.value)
        assert "hook=" not in str(refusal.value)


def test_what_is_said_of_one_dictionary_needs_one(tmp_path: Path) -> None:
    one = tensors(tmp_path)
    for more, option in (
        ({"hook": HOOK}, "--feature-hook"), ({"source": HOOK}, "--feature-source"), ({"k": 2}, "--feature-k"),
        ({"centred": "no"}, "--feature-centred"), ({"names": one}, "--feature-names"),
    ):  # fmt: skip
        for paths in ([], [one, one]):
            with pytest.raises(Usage, match=f"{option} says something of one dictionary"):
                Named(paths, **more).check("modules")
        Named([one], **more).check("modules")
    with pytest.raises(Usage, match="leave --cut model out"):
        Named([one]).check("model")
