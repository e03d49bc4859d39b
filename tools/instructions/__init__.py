"""Instructions an image costs on processors that are not here: `python -m tools.instructions BUNDLE`; docs/bench.md says what it shows."""
