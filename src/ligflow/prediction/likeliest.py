"""What a model may say of an input, before it is asked why: its likeliest outputs, each with its answer."""

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.own_run import own_run
from ligflow.prediction.question import Output
from ligflow.prediction.targets import question


def likeliest(
    whole: PreparedModel, inputs: Inputs, count: int = 10, position: int | str | None = None
) -> tuple[Output, ...]:
    """The `count` likeliest outputs, each with what `explain_prediction` takes as its `answer`.

    None where what the model says is no single token or class: a number, or several masks at once. It takes
    two runs of the model. Raises LigflowError for what the model cannot be asked.
    """
    with whole.steady():
        subject = question(whole, inputs, position=position)
        if len(subject.positions or ()) > 1:
            return ()
        run = own_run(whole, subject.inputs, subject.positions)
        return subject.likeliest(run.outputs, count, 0)
