"""`python -m tflite_runtime_app` is `classify`."""

import sys

from tflite_runtime_app.cli import main

sys.exit(main())
