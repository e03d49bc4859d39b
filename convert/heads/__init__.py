"""Heads that exits have of their own: fitted in closed form or trained, and kept in a model folder as `heads.safetensors`."""
