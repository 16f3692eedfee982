"""Documents and vectors in files: JSON lines, Parquet, and what the vectors were made with.

No module here needs a terminal, so that the command line, bulk work and evaluation share them.
"""
