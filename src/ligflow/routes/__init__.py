"""The maps z -> u, u -> z', z -> z', e -> u: what moves along `paths`, integrated and certified."""
