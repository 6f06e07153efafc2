"""The maps: z -> u, u -> z', z -> z', e -> u, each integrated and certified."""
