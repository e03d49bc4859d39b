"""The microcontroller's C on emulated Cortex-M processors: `python -m tools.cortex_m BUNDLE`; see docs/microcontrollers.md."""
