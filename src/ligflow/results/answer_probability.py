"""How probable the answer is in both runs, where the score says it."""

from math import exp

from ligflow.results.prediction_data import PredictionData


def answer_probabilities(prediction: PredictionData) -> tuple[float, float] | None:
    """`exp(score)` in the real and in the reference run, where the score is a log-probability; else None.

    A contrast is no probability.
    """
    settings = prediction.meta.get("settings", {})
    if settings.get("score") != "logprob" or settings.get("contrast") is not None:
        return None
    real, reference = (min(1.0, exp(value)) for value in (prediction.value, prediction.reference_value))
    return real, reference  # rounding may take a logarithm above 0
