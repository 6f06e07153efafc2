"""The paper's mathematics on tensors alone: no model is known here."""
