"""`python -m scfae.cli`."""

import sys

from .main import main

sys.exit(main())
