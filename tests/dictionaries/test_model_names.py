import pytest

from ligflow.dictionaries.model_names import told_apart


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ("gpt2-small", "openai-community/gpt2", False),
        ("SmolLM2-135M-Instruct", "embedded:smollm2", False),
        ("HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M-Instruct", False),
        ("gemma-2-2b", "google/gemma-2-2b-it", False),
        ("", "gpt2", False),
        ("gemma-2-2b", "embedded:gemma-3-270m", True),
        ("EleutherAI/pythia-70m", "EleutherAI/pythia-160m", True),
        ("gpt2-small", "embedded:smollm2", True),
    ],
)
def test_names_of_one_model(first, second, apart):
    assert told_apart(first, second) is apart
    assert told_apart(second, first) is apart
