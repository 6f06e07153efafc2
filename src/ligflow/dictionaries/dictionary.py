"""A dictionary: vectors of a model as sums of few features of many, `h = Σ_f a_f d_f + b + ε`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.dictionaries.activations import Activation
from ligflow.dictionaries.feature_names import FeatureName
from ligflow.dictionaries.hook_points import HookPoint
from ligflow.dictionaries.scaling import Scaling, scaled
from ligflow.errors import LigflowError


@dataclass(frozen=True, eq=False)
class Code:
    """What a dictionary makes of vectors, in parts that sum to what it gives for them.

    `activations` are those of features, with the scale of a token in them; `scale` and `shift` are by what
    the decoder's bias is multiplied and what is added to every component; `skip` what goes past the features.
    """

    activations: Float[Tensor, "token feature"]
    scale: Float[Tensor, "token 1"]
    shift: Float[Tensor, "token 1"]
    skip: Float[Tensor, "token output"] | None


@dataclass(frozen=True, eq=False, repr=False)
class Dictionary:
    """A sparse autoencoder or a transcoder: features with an encoder, directions, and where they stand.

    It encodes what stands at `source` and gives what stands at `hook`; these differ for a transcoder alone.
    Vectors are normalised by `scaling`, and the decoder's bias is taken off before the encoder where they are
    `centred`. `name`, `model` and `names` of features are what its files say.
    """

    encoder: Float[Tensor, "feature input"]
    encoder_bias: Float[Tensor, " feature"]
    decoder: Float[Tensor, "feature output"]
    decoder_bias: Float[Tensor, " output"]
    activation: Activation
    hook: HookPoint
    source: HookPoint
    centred: bool = True
    scaling: Scaling | str = "none"
    scales_output: bool = True
    skip: Float[Tensor, "output input"] | None = None
    name: str = ""
    model: str = ""
    names: Mapping[int, FeatureName] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of features."""
        return len(self.decoder)

    @property
    def transcodes(self) -> bool:
        """Whether it encodes one vector and gives another."""
        return self.source != self.hook

    def named(self, names: Mapping[int, FeatureName]) -> "Dictionary":
        """The same with names of features. Raises LigflowError for a feature that it does not have."""
        if names and not 0 <= min(names) <= max(names) < self.count:
            wrong = max(names) if max(names) >= self.count else min(names)
            raise LigflowError(
                f"The table names feature {wrong}, and {self.name or 'the dictionary'} has features 0 to "
                f"{self.count - 1}; give the table of this dictionary."
            )
        return replace(self, names=names)

    def encode(self, vectors: Float[Tensor, "token input"]) -> Code:
        """The activations of features for vectors, `a = φ(W v + c)`, and what is beside them.

        Raises LigflowError where these are not finite.
        """
        own = scaled(vectors, self.scaling)
        centre = self.decoder_bias.to(vectors) if self.centred else vectors.new_zeros(())
        scores = (own.vectors - centre) @ self.encoder.to(vectors).T + self.encoder_bias.to(vectors)
        activations = self.activation(scores)
        if not torch.isfinite(activations).all():
            raise LigflowError(
                f"{self.name or 'The dictionary'} gives NaN or infinite activations for what stands at "
                f"{self.source.name}: it cannot be normalised, or is too large; choose another reference, or "
                "load the dictionary's weights in float32."
            )
        skip = None if self.skip is None else vectors @ self.skip.to(vectors).T
        if not self.scales_output:
            one = torch.ones_like(own.scale)
            return Code(activations, one, 0 * one, skip)
        return Code(activations * own.scale, own.scale, own.shift, skip)

    def __repr__(self) -> str:
        place = f"{self.source.name} -> {self.hook.name}" if self.transcodes else self.hook.name
        said = f", of {self.model}" if self.model else ""
        return f"Dictionary({self.name!r}, {self.count} features at {place}{said})"
