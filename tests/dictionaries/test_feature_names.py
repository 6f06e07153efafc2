import pytest

from ligflow.dictionaries.feature_names import FeatureName, read_feature_names
from ligflow.errors import LigflowError

SAID = {
    3: FeatureName("capitals, of countries", "https://example.org/3"),
    12: FeatureName("days"),
}
TABLES = {
    "names.csv": 'feature,name,url\n3,"capitals, of countries",https://example.org/3\n12,days,\n',
    "names.tsv": "index\tlabel\turl\n3\tcapitals, of countries\thttps://example.org/3\n12\tdays\t\n",
    "names.json": '[{"feature": 3, "name": "capitals, of countries", "url": "https://example.org/3"},'
    '{"feature": "12", "name": "days"}]',
    "object.json": '{"3": {"name": "capitals, of countries", "url": "https://example.org/3"}, "12": "days"}',
    "names.jsonl": '{"index": 3, "description": "capitals, of countries", "url": "https://example.org/3"}\n'
    '{"index": 12, "description": "days"}\n',
}


@pytest.mark.parametrize("file", TABLES)
def test_tables_of_names(tmp_path, file):
    (tmp_path / file).write_text(TABLES[file], encoding="utf-8")
    assert read_feature_names(tmp_path / file) == SAID


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("a.csv", "feature,name\nx,days\n", "Row 1 .* each row needs columns feature, name and url"),
        ("a.csv", "number,name\n1,days\n", "Row 1"),
        ("a.csv", "feature,name\n1,days\n1,weeks\n", "names feature 1 twice"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "3", "is no list of features"),
        ("a.json", '[{"feature": -1, "name": "x"}]', "Row 1"),
        ("a.json", '[{"feature": true, "name": "x"}]', "Row 1"),
        ("a.json", '[{"feature": 1, "name": ["x"]}]', "Row 1"),
        ("a.json", '[{"feature": 1, "url": "javascript:alert(1)"}]', "http"),
    ],
)
def test_tables_that_are_not_read(tmp_path, file, text, said):
    (tmp_path / file).write_text(text)
    with pytest.raises(LigflowError, match=said):
        read_feature_names(tmp_path / file)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(LigflowError, match="cannot be read"):
        read_feature_names(tmp_path / "a.csv")
