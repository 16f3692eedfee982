"""`ctxembed demo`: what context changes, measured on real documents and a real model.

`command` has the command and `run` what it does, one noun a module: data, corpus, ways, embedding,
ranking, metrics, intervals, comparison, changes, verdict, and then terminal and report.
"""
