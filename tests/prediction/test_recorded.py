"""The layers of all stacks of a model, and which of them are a decoder's."""

from asked_models import gpt2, t5
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.targets import question


def test_layers_of_a_decoder_alone_and_behind_an_encoder() -> None:
    causal = gpt2()
    asked = question(causal, "The river is long")
    one = recorded_layers(causal.now(), asked.inputs, asked.positions)
    assert [layer.name for layer in one.layers] == [
        f"transformer.h.{n}" for n in range(causal.model.config.n_layer)
    ]
    assert one.decoder == []
    assert one.layers[0].hidden.shape[-2] == len(asked.labels)
    pair = t5()
    asked = question(pair, "this is good")
    two = recorded_layers(pair.now(), asked.inputs, asked.positions)
    count = pair.model.config.num_layers
    assert [layer.name.split(".")[0] for layer in two.layers] == ["encoder"] * count + ["decoder"] * count
    assert two.decoder == two.layers[count:]
