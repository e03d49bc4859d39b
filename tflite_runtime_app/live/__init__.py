"""What runs for months: a live source watched over in a process of its own, the newest frame of it, and what may be asked meanwhile."""
