import pytest

from ligflow.dictionaries.hook_points import hook_point
from ligflow.errors import LigflowError


@pytest.mark.parametrize(
    ("name", "kind", "layer"),
    [
        ("blocks.0.hook_resid_pre", "before", 0),
        ("blocks.11.hook_resid_mid", "middle", 11),
        ("blocks.11.hook_resid_post", "after", 11),
        ("blocks.3.hook_attn_out", "attention", 3),
        ("blocks.3.attn.hook_z", "heads", 3),
        ("blocks.3.hook_mlp_out", "mlp", 3),
        ("blocks.3.ln2.hook_normalized", "second norm", 3),
    ],
)
def test_names_of_transformer_lens(name, kind, layer):
    place = hook_point(name)
    assert (place.kind, place.layer, place.name) == (kind, layer, name)


def test_names_of_modules():
    place = hook_point("model.layers.5.mlp")
    assert (place.kind, place.module, place.end) == ("module", "model.layers.5.mlp", "output")
    assert place.taken == hook_point("model.layers.5.mlp:input")
    assert place.taken.end == "input"


@pytest.mark.parametrize("name", ["", "blocks.5.attn.hook_q", "hook_embed", "a b", "blocks.5", "layers..5"])
def test_other_names(name):
    if name == "blocks.5":
        assert hook_point(name).kind == "module"
        return
    with pytest.raises(LigflowError, match="is none that is known"):
        hook_point(name)
