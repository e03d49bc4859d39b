"""The board's half of clip-rescue: run a staged full-integer CLIP image tower with numpy, Pillow and LiteRT alone."""

__version__ = "0.1.0"
