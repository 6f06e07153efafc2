"""The vectors of both runs at a hook point of a dictionary, and their cotangent.

| hook point | vectors | cotangent |
|---|---|---|
| before, after a layer | z, z' | `m_z`, `m_z'` |
| middle | x | `m_x` |
| attention | x - z, y - z before a second attention | `m_x`, `m_y` |
| heads | u, all joined | `m_u` |
| mlp | z' - x, with norms after the MLP before these are added y - x | `m_z'`, `m_y` |
| a module | what it takes or gives | `ligflow.prediction.inner_module` |
| first, second norm | what the norm gives, over its weights W | `W m` of the norm |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.dictionaries.hook_points import HookPoint
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.closed_form import is_leaf
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.cuts import Call
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.inner_module import InnerModule, in_both_runs, inner_module
from ligflow.prediction.matrices import FirstNorm
from ligflow.prediction.read_out import Places, ReadOut
from ligflow.recording.recognition import norm_of

Vectors = Float[Tensor, "token dim"]


@dataclass(frozen=True, eq=False)
class HookPoints:
    """A model taken apart, for one row of the answer, and the vectors at its hook points."""

    runs: Runs
    built: Built
    places: Places
    accuracy: Accuracy

    def vectors(self, hook: HookPoint) -> tuple[Vectors, Vectors]:
        """Those of the real run and of the reference run. Raises LigflowError as `read_out`."""
        site = self._site(hook)
        if site is not None and hook.kind != "module":
            norm, taken = self._norm(site), replace(site, end="input")
            real, reference = (_bare(norm, ends) for ends in in_both_runs(self.runs, taken))
            return real, reference
        if site is not None:
            return in_both_runs(self.runs, site)
        own = self.read_out(hook)
        return own.real, own.reference

    def read_out(self, hook: HookPoint) -> ReadOut:
        """Vectors and cotangent.

        Raises LigflowError for a place that the model does not have, UnsupportedModel where its layer was
        not taken apart there.
        """
        if (site := self._site(hook)) is None:
            return self._of_variables(hook)
        own = inner_module(self.runs, self.places, site, self.accuracy)
        if hook.kind == "module":
            return own
        weights, _ = self._norm(site).terms(own.cotangent)
        return ReadOut(own.cotangent * weights, *self.vectors(hook), own.first)

    # --- parts of the residual stream ---------------------------------------------------------------

    def _of_variables(self, hook: HookPoint) -> ReadOut:
        call = self._call(hook)
        form, names = call.form.kind, self.places.graph.variables
        x, y, u = (f"{name}{call.number}" for name in "xyu")
        if hook.kind in ("before", "after", "module"):
            first = hook.kind == "before" or (hook.kind == "module" and hook.end == "input")
            return self._variable(call.hidden if first else call.output)
        if hook.kind == "heads" and u in names:
            heads = self._variable(u)
            real, reference = heads.real.flatten(1), heads.reference.flatten(1)
            return ReadOut(heads.cotangent.flatten(1), real, reference, heads.first)
        if hook.kind == "middle" and x in names:
            return self._variable(x)
        if hook.kind == "attention" and form == "sequential":
            return self._difference(y if y in names else x, call.hidden)
        if hook.kind == "mlp" and form in ("sequential", "post-norm"):
            return self._difference(call.output if form == "sequential" else f"y'{call.number}", x)
        raise UnsupportedModel(
            f"{hook.name} does not stand where layer {call.number} ({call.layer.name}) is cut, whose form is "
            f"{form!r}; name the module that gives these vectors: hook='{call.layer.name}.NAME'."
        )

    def _variable(self, name: str) -> ReadOut:
        own = self.places.variable(name)
        if own is not None:
            return own
        variable = self.places.graph.variables[name]  # nothing of it reaches the score
        return ReadOut(torch.zeros_like(variable.real), variable.real, variable.reference, variable.offset)

    def _difference(self, upper: str, lower: str) -> ReadOut:
        """What is added to `lower` to make `upper`."""
        own, below = self._variable(upper), self.places.graph.variables[lower]
        return ReadOut(own.cotangent, own.real - below.real, own.reference - below.reference, own.first)

    # --- modules ------------------------------------------------------------------------------------

    def _site(self, hook: HookPoint) -> InnerModule | None:
        """The module inside a layer at which the place is; None for parts of the residual stream."""
        if hook.kind in ("first norm", "second norm"):
            call = self._call(hook)
            return InnerModule(self._norm_module(hook, call), "output", call, hook.name)
        if hook.kind != "module":
            return None
        module, end = self._module(hook)
        if module in self.runs.modules:
            return None
        inside = [call for call in self.built.calls if module in {*call.layer.module.modules()}]
        if len(inside) != 1:
            raise LigflowError(
                f"{hook.name} is {'part of several layers' if inside else 'no part of a layer'}; give "
                "a module that one layer has, or a place in the residual stream, 'blocks.5.hook_resid_post'."
            )
        return InnerModule(module, end, inside[0], hook.name)

    def _module(self, hook: HookPoint) -> tuple[nn.Module, str]:
        """The module of a name, as the model or a part of it has it, and which end of it is meant."""
        modules = dict(self.runs.model.named_modules())
        bare, _, last = hook.module.rpartition(".")
        for name, end in ((hook.module, hook.end), (bare, last)):
            known = [own for own in modules if own == name or own.endswith(f".{name}")] if name else []
            if len(known) == 1 and end in ("input", "output"):
                return modules[known[0]], end
        layers = [layer.name for layer in self.runs.layers]
        raise LigflowError(
            f"{type(self.runs.model).__name__} has no module {hook.module!r}, where the dictionary stands; "
            f"its layers are {layers[0]} to {layers[-1]}: give hook='{layers[-1]}', or a module of one."
        )

    def _call(self, hook: HookPoint) -> Call:
        """The call of the layer that a place is in."""
        calls = {call.number: call for call in self.built.calls}
        if not calls:
            raise LigflowError("cut='model' takes no layer apart; leave cut out to ask for features.")
        if hook.kind == "module":
            module = self._module(hook)[0]
            numbers = [number for number, own in enumerate(self.runs.modules) if own is module]
        else:
            numbers = [hook.layer] if hook.layer in calls else []
        if len(numbers) == 1 and numbers[0] is not None:
            return calls[numbers[0]]
        if numbers:
            raise LigflowError(
                f"{hook.name} is called as layers {', '.join(map(str, numbers))}; give one of them: "
                f"hook='blocks.{numbers[0]}.hook_resid_post'."
            )
        raise LigflowError(
            f"The dictionary stands at {hook.name}, and the model has layers 0 to {len(calls) - 1}: it is "
            "for another model, or give hook=."
        )

    def _norm_module(self, hook: HookPoint, call: Call) -> nn.Module:
        """The norm before the attention, or before the MLP."""
        after = call.form.after
        if hook.kind == "second norm" and call.form.kind == "sequential" and after is not None:
            return after.site.module
        if hook.kind == "first norm":
            for module, taken in _leaves(call):
                if taken.shape == call.layer.hidden[None].shape and torch.equal(taken[0], call.layer.hidden):
                    return module
        raise UnsupportedModel(
            f"The norm of {hook.name} was not recognised in layer {call.number} ({call.layer.name}); name "
            f"its module: hook='{call.layer.name}.NAME'."
        )

    def _norm(self, site: InnerModule) -> FirstNorm:
        norm = norm_of(site.module, in_both_runs(self.runs, replace(site, end="input"))[0][None])
        if norm is None:
            raise UnsupportedModel(f"{site.name} is no norm; name the module that gives the vectors.")
        return FirstNorm(norm.module, norm.centred, norm.eps)


def _bare(norm: FirstNorm, taken: Vectors) -> Vectors:
    """`(x - mean) / σ(x)`: what a norm gives before its weights."""
    inner = norm.centre(taken)
    return inner / (inner.square().mean(-1, keepdim=True) + norm.eps).sqrt()


def _leaves(call: Call) -> Sequence[tuple[nn.Module, Tensor]]:
    """The modules without modules inside that a layer calls, with what they take."""
    calls: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, args: tuple[object, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            calls.append((module, args[0]))

    leaves = [module for module in call.layer.module.modules() if is_leaf(module)]
    handles = [module.register_forward_pre_hook(note) for module in leaves]
    try:
        with torch.no_grad():
            call.layer.forward(call.layer.hidden[None])
    finally:
        for handle in handles:
            handle.remove()
    return calls
