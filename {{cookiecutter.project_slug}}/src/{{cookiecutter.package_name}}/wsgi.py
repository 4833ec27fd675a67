"""The application for WSGI servers. No other application exists at module level."""

import gc

from . import create_app

app = create_app()

# What exists now lives as long as the process. A full garbage collection, which stops all threads,
# does not visit it (50 ms), and processes that are forked now continue to share its memory.
gc.freeze()
