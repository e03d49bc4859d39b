"""The text tower of a CLIP model as a TensorFlow Lite file of its own, beside the bundle: new labels on the board without torch."""
