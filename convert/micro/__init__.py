"""A bundle for microcontrollers: every stage a file for TensorFlow Lite Micro, and C99 for what `classify` does on a board."""
