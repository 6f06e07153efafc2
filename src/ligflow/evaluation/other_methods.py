"""The methods that are compared: LIG in its variants, and what others use to read a layer.

Each gives a map [target, source] of one recorded layer, over the sources that are not padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.evaluation import norm_based_attention, vector_decompositions
from ligflow.evaluation.mlp_decompositions import decompx, norm_based_with_mlp
from ligflow.evaluation.weight_gradients import attention_attribution
from ligflow.layer.layer import Layer
from ligflow.method.attention import attention_weights, spread
from ligflow.method.baselines import Zero
from ligflow.method.composition import COMPOSITIONS, Composition, HeadMaps, compose
from ligflow.paths.after_attention import finish
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.routes.attribution import Attribution
from ligflow.routes.corrections import model_attention
from ligflow.routes.explain_layer import explain_together
from ligflow.routes.workspace import Selection
from ligflow.routes.z2z import z2z_map
from ligflow.settings import Settings, ask

Map = Float[Tensor, "target source"]


@dataclass(frozen=True)
class Variant:
    """One way to compute LIG: the direct map, or a composed one."""

    att: str
    mlp: str = ""
    scalarization: str = "l2"

    def settings(self, mean: str | Tensor) -> Settings:
        """What to ask of a layer; `mean` stands for the baseline of that name."""
        base = mean if self.att == "mean" else self.att
        if not self.mlp:
            return ask(routes="z2z", layer_baseline=base, scalarization=self.scalarization)
        return ask(
            routes=("z2u", "u2z"), att_baseline=base, mlp_baseline=self.mlp, scalarization=self.scalarization
        )

    def maps(self, attributions: Mapping[str, Attribution], tokens: Selection) -> dict[str, Map]:
        """Its maps by name."""
        note = "" if self.scalarization == "l2" else f", {self.scalarization}"
        if not self.mlp:
            return {f"LIG direct {self.att}{note}": attributions["z2z"].value[:, 0]}
        name = f"LIG {self.att} / {self.mlp}"
        return {
            f"{name}, {rule.name}{note}": _composed(attributions, tokens, rule)
            for rule in COMPOSITIONS.values()
        }


NAMED = (
    "LIG direct itb, projection"  # chosen beforehand to stand for LIG: see docs/explanation/faithfulness.md
)
VARIANTS = (
    *(Variant(att, scalarization=scale) for scale in ("projection", "l2") for att in ("itb", "zero", "mean")),
    Variant("itb", "att_itb_a0"), Variant("zero", "matched"), Variant("mean", "matched"),
)  # fmt: skip
START_AT = {"zero": "LIG direct zero", "target": "LIG direct itb", "mean": "LIG direct mean"}


def shares_start(method: str, replacement: str) -> bool:
    """Whether a method starts where a removed source is put, so that it is held against its own game."""
    return method.startswith((START_AT[replacement], START_AT[replacement].replace("direct ", "")))


def is_signed(method: str) -> bool:
    """Whether the sign of a method's scores means something: that a source pushes on, or holds back."""
    return method.startswith("LIG") or method in ("gradient x input", "attention attribution")


def lig(layer: Layer, tokens: Selection, mean: str | Tensor = "mean") -> tuple[dict[str, Map], int]:
    """The maps of all variants, and how many of their integrals miss the tolerance.

    `mean` is the baseline of that name, e.g. the mean of a corpus `[D]`.
    """
    settings = [variant.settings(mean) for variant in VARIANTS]
    results = [of_example[0] for of_example in explain_together([layer], settings, [tokens])]
    maps: dict[str, Map] = {}
    for variant, routes in zip(VARIANTS, results, strict=True):
        maps |= variant.maps(routes, tokens)
    unmet = sum(int((~part.met).sum()) for routes in results for part in routes.values())
    return {name: values[:, tokens.visible] for name, values in maps.items()}, unmet


def _composed(attributions: Mapping[str, Attribution], tokens: Selection, rule: Composition) -> Map:
    heads, players = attributions["z2u"], attributions["u2z"].value[:, 0]
    z2u, u2z = heads.value.transpose(0, 1)[None], players[:, :-1].T[None]
    maps = HeadMaps(z2u, u2z, players[None, :, -1], z2u.sum(-1), heads.floor.T[None])
    return compose(rule, maps, tokens.targets)[0]


def rivals(layer: Layer, tokens: Selection, seed: int = 0) -> dict[str, Map]:
    """What others use to read a layer, and two controls that know nothing of its numbers.

    Methods that follow vectors through the MLP are left out for a layer in which that cannot be done.
    """
    return {
        "raw attention": model_attention(layer, tokens.targets).mean(dim=1)[:, tokens.visible],
        "norm-based (2020)": norm_based_attention.norm_based(layer, tokens)[:, tokens.visible],
        "norm-based, residual and norm (2021)": norm_based_attention.with_residual_and_norm(layer, tokens)[
            :, tokens.visible
        ],
        "ALTI": vector_decompositions.alti(layer, tokens)[:, tokens.visible],
        "GlobEnc": vector_decompositions.globenc(layer, tokens)[:, tokens.visible],
        "attention attribution": attention_attribution(layer, tokens),
        "value zeroing": value_zeroing(layer, tokens),
        "gradient x input": gradient_times_input(layer, tokens),
        "nearness": nearness(tokens),
        "random": random(tokens, seed),
    } | _through_mlp(layer, tokens)


def _through_mlp(layer: Layer, tokens: Selection) -> dict[str, Map]:
    try:
        return {
            "norm-based, with MLP (2024)": norm_based_with_mlp(layer, tokens)[:, tokens.visible],
            "DecompX": decompx(layer, tokens)[:, tokens.visible],
        }
    except UnsupportedModel:
        return {}


def value_zeroing(layer: Layer, tokens: Selection) -> Map:
    """`1 - cos(z'_j, z'_j without V_k)`: the source's value is 0, its attention weight stays.

    Mohebbi, Zuidema, Chrupała and Alishahi 2023 [mohebbi2023].
    """
    with torch.no_grad():
        seen = layer.capture(layer.hidden[None])
        p = attention_weights(seen.query, seen.key, seen.form).p[0][:, tokens.targets]
        lost = [_written(p, seen.value, int(k)) for k in tokens.visible]
        u = spread(p[None], seen.value).permute(0, 2, 1, 3) - torch.stack([torch.zeros_like(lost[0]), *lost])
        hidden = layer.hidden[tokens.targets].expand(len(u), -1, -1)
        image = finish(alone(layer), hidden, u, tokens.targets)[:, :, 0].double()
    return (1 - torch.cosine_similarity(image[1:], image[:1], dim=-1)).T.to(p)


def _written(
    p: Float[Tensor, "head target source"], value: Float[Tensor, "1 group source value_dim"], k: int
) -> Float[Tensor, "target head value_dim"]:
    """`p_jk V_k`."""
    of_heads = value[0, :, k].repeat_interleave(len(p) // value.shape[1], dim=0)
    return (p[:, :, k, None] * of_heads[:, None]).transpose(0, 1)


def gradient_times_input(layer: Layer, tokens: Selection) -> Map:
    """How the size of the output would grow with the source, `<z_k, d||z'_j|| / dz_k>`."""
    path = attention_path(alone(layer), Zero().start(layer.hidden, tokens.visible))
    end = layer.hidden.new_ones(1)

    def towards(value: Tensor) -> Tensor:
        return value / value.norm(dim=-1, keepdim=True)

    return z2z_map(path).pullback(end, tokens.targets, towards)[0, :, 0][:, tokens.visible]


def nearness(tokens: Selection) -> Map:
    """`1 / (1 + |j - k|)`: a rule that knows positions alone."""
    return 1 / (1 + (tokens.targets[:, None] - tokens.visible).abs().double()).float()


def random(tokens: Selection, seed: int = 0) -> Map:
    """Numbers of `[0, 1)` with equal chances, drawn anew for every seed."""
    generator, shape = torch.Generator("cpu").manual_seed(seed), (len(tokens.targets), len(tokens.visible))
    drawn = torch.rand(*shape, generator=generator, dtype=torch.float32, device="cpu")
    return drawn.to(tokens.targets.device)


def seen_by(layer: Layer, tokens: Selection) -> Bool[Tensor, "target source"]:
    """The sources that can move a target: those that it attends to at all, and itself."""
    seen = (model_attention(layer, tokens.targets) > 0).any(dim=1)
    seen[torch.arange(len(seen), device=seen.device), tokens.targets] = True
    return seen[:, tokens.visible]
