"""One thread per process: the suite starts many, and OpenMP threads that share two cores wait on each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
