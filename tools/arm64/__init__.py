"""The board's half on emulated Arm processors: `python -m tools.arm64 BUNDLE`; docs/arm64.md says what it shows."""
