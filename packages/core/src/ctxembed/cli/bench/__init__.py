"""`ctxembed bench`: speed, memory and agreement on the user's own machine, model and documents.

Each type of arithmetic is measured by a process of its own (`worker`), which reports line by line.
`process` starts it and reads the lines, `command` shows the table. `benchmarks/` measures with the
same `timer`, `peak_memory` and `agreement`.
"""
