"""What the tables of a run say: estimates with intervals, rankings, profiles."""
