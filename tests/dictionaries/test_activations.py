import torch

from ligflow.dictionaries.activations import Gated, GroupMax, Jump, Relu, TopK

SCORES = torch.tensor([[3.0, -4.0, 1.0, 2.0], [-1.0, -2.0, -3.0, 0.5]])


def test_relu():
    assert Relu()(SCORES).tolist() == [[3, 0, 1, 2], [0, 0, 0, 0.5]]


def test_a_jump_leaves_scores_above_the_threshold_as_they_are():
    assert Jump(torch.tensor([0.0, 0.0, 1.0, 1.0]))(SCORES).tolist() == [[3, 0, 0, 2], [0, 0, 0, 0]]


def test_gated_features_have_a_size_of_their_own_behind_the_gate():
    gate, bias = torch.tensor([-2.0, 5.0, -1.0, 0.0]), torch.tensor([1.0, 9.0, 1.0, -1.0])
    size = torch.tensor([2.0, 1.0, 1.0, 2.0]).log()
    expected = torch.tensor([[7.0, 5.0, 0.0, 3.0], [0.0, 7.0, 0.0, 0.0]])
    assert torch.allclose(Gated(gate, size, bias)(SCORES), expected)


def test_top_k():
    assert TopK(2)(SCORES).tolist() == [[3, 0, 0, 2], [0, 0, 0, 0.5]]
    assert TopK(2, signed=True)(SCORES).tolist() == [[3, 0, 0, 2], [-1, 0, 0, 0.5]]
    assert TopK(2, by_size=True)(SCORES).tolist() == [[3, -4, 0, 0], [0, -2, -3, 0]]


def test_the_largest_of_each_group():
    assert GroupMax(2)(SCORES).tolist() == [[3, 0, 0, 2], [0, 0, 0, 0.5]]
