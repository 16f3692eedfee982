"""Bulk: a directory of vectors that is made, continued and updated by one command.

    manifest, directory, locks    what lies in a directory, and who may change it now
    index                         what the input holds
    shard, changes                what a shard holds, and what the input asks of it
    updating, workers, run        how shards are brought up to date, by one process or several
    status, resharding            what a directory holds; more shards without embedding
    embed_batch                   a function over Arrow data, for engines

A row is there exactly once at any moment, whatever is killed: a shard is a file that is replaced by
a complete one, and it is written under a lock that ends with its process.
"""

from ctxembed.bulk.embed_batch import EmbedBatch

__all__ = ["EmbedBatch"]
