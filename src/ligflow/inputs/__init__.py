"""What goes in: texts, tokens, words, pairs, patches, frames, and the checks of them."""
