"""`python -m convert` is the same as the console script (ImageMagick owns the name on many machines)."""

import sys

from convert.cli import main

sys.exit(main())
