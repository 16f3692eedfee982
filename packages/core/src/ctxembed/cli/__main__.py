"""`python -m ctxembed.cli` is `ctxembed`."""

from ctxembed.cli import main

main()
