"""How long things may take, each fitted into the next: a model's trial, the watchdog that must not bite during one, and a start.

A trial can become necessary while the program is watched (it goes back to the last good file), so it has to end before the watchdog does.
A start may try two files, the one in service and the last good one.
"""

TRIAL_SECONDS = 45  # four images through a large tower on the slowest board, and Python's start from an SD card
WATCHDOG_SECONDS = TRIAL_SECONDS + 15  # without a frame that was really inferred, after which systemd starts the program anew
START_SECONDS = 2 * TRIAL_SECONDS + 60
