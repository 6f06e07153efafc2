"""What a run stores of a sentence, as rows of tables."""
