"""``python -m gradfuzz``."""

from gradfuzz.cli import main

main()
