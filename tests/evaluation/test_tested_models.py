"""Which model types are said to be tested."""

from transformers import CONFIG_MAPPING

from ligflow.evaluation.tested_models import SPLIT, WHOLE


def test_types_are_those_of_transformers_and_stand_once() -> None:
    assert {*SPLIT} & {*WHOLE} == set()
    assert len(SPLIT) == 35
    assert [name for name in (*SPLIT, *WHOLE) if name not in CONFIG_MAPPING] == []
    assert list(SPLIT) == sorted(SPLIT)
