import torch

from ligflow.dictionaries.scaling import scaled

VECTORS = torch.tensor([[3.0, 4.0, 0.0, 0.0], [1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)


def test_vectors_of_one_length():
    own = scaled(VECTORS, "norm")
    assert torch.allclose(own.vectors.norm(dim=-1), torch.full((2,), 2.0, dtype=torch.float64))
    assert own.scale[:, 0].tolist() == [2.5, 50**0.5 / 2]
    assert torch.allclose(own.vectors * own.scale + own.shift, VECTORS)


def test_vectors_of_one_mean_and_deviation():
    own = scaled(VECTORS, "layer")
    assert own.shift[:, 0].tolist() == [1.75, 3.0]
    assert torch.allclose(own.vectors.std(-1), torch.ones(2, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(own.vectors * own.scale + own.shift, VECTORS, atol=1e-4)


def test_vectors_as_they_are():
    own = scaled(VECTORS, "none")
    assert torch.equal(own.vectors * own.scale + own.shift, VECTORS)
