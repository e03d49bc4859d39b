"""Names become label vectors on the board: tokenizer, the text tower's file beside the bundle, and a cache of what it said."""
