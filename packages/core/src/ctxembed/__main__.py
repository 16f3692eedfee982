"""`python -m ctxembed` is the command `ctxembed`."""

from ctxembed.cli import main

main()
