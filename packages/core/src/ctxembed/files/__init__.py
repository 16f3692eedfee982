"""Documents and vectors in files: JSON lines, Parquet, and where they come from."""
