"""What the cfg.json of a dictionary says, field by field: that of SAELens, old and new, and of sparsify."""

from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from ligflow.results.flow_header import Part, Text

Count = Annotated[int, Field(gt=0, lt=2**31)]
Whole = Annotated[Count, Strict(False)]  # files write some counts as 32.0
_OLD = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_ABOUT = ("model_name", "hook_name", "hook_name_out", "hf_hook_name", "hf_hook_name_out", "hook_head_index")


class About(Part):
    """Which model a dictionary is for, and where it stands."""

    model_name: Text | None = None
    hook_name: Text | None = None
    hook_name_out: Text | None = None
    hf_hook_name: Text | None = None
    hf_hook_name_out: Text | None = None
    hook_head_index: int | None = None


class SaeLensHeader(Part):
    """The cfg.json of SAELens; files before its version 6 keep all in one level, under older names."""

    architecture: Text = "standard"
    activation_fn: Text = "relu"
    activation_fn_kwargs: dict[Text, Any] = Field(default_factory=dict)
    d_in: Count
    d_sae: Count
    d_out: Count | None = None
    k: Whole | None = None
    apply_b_dec_to_input: bool = True
    normalize_activations: Text | bool | None = None
    rescale_acts_by_decoder_norm: bool = False
    finetuning_scaling_factor: bool = False
    metadata: About = About()

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        fields = {_OLD.get(name, name): value for name, value in data.items()}
        above = {name: fields[name] for name in _ABOUT if name in fields}
        if isinstance(fields.get("metadata"), dict):
            fields["metadata"] = above | fields["metadata"]
        elif "metadata" not in fields:
            fields["metadata"] = above
        kwargs = fields.get("activation_fn_kwargs")
        if fields.get("activation_fn") == "topk" and isinstance(kwargs, dict) and "k" in kwargs:
            fields |= {"architecture": "topk", "k": kwargs["k"]}
        return {name: value for name, value in fields.items() if value is not None}


class SparsifyHeader(Part):
    """The cfg.json of sparsify."""

    d_in: Count
    num_latents: Annotated[int, Field(ge=0)] = 0
    expansion_factor: Count = 32
    k: Count
    activation: Literal["topk", "groupmax"] = "topk"
    signed: bool = False
    transcode: bool = False
    skip_connection: bool = False

    @property
    def features(self) -> int:
        """The number of features."""
        return self.num_latents or self.d_in * self.expansion_factor
