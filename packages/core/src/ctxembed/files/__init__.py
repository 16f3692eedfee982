"""Documents and vectors in files: JSON lines, Parquet, and what the vectors were made with.

No module here needs a terminal: the command line, bulk work and evaluation read and write with them.
"""
