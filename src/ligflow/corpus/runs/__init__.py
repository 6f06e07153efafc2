"""A run over a corpus: planned once, continued until every shard is there."""
