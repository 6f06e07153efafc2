"""The header of a prediction's file: no field is named that a prediction has not, and none is left out."""

from dataclasses import fields

from ligflow.results.prediction_data import PredictionData, SegmentCertificate
from ligflow.results.prediction_file import BY_LAYER, WHOLE
from ligflow.results.prediction_header import Certificate, PredictionHeader


def test_header_and_tensors_hold_every_field_of_a_prediction() -> None:
    stored = {*PredictionHeader.model_fields, *WHOLE, *BY_LAYER} - {"format"}
    assert stored == {field.name for field in fields(PredictionData)}
    assert {*Certificate.model_fields} == {field.name for field in fields(SegmentCertificate)}
