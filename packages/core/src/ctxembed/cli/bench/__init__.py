"""`ctxembed bench`: speed, memory and agreement on the user's own machine, model and documents.

Each type of arithmetic is measured by a process of its own (`worker`), which tells what it finds line
by line; `process` starts it and listens, `command` shows the table.
"""
