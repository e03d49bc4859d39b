"""Weight files as people save them: what a file is, the tensors in it, open_clip's names for them, and whether they fit a model."""
