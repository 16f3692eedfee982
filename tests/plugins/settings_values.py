"""For every setting a value that is not its default: what a test sets to see that it arrives."""

CHANGE_VECTORS = {
    "model": "perplexity-ai/pplx-embed-context-v1-4b",
    "backend": "onnx",
    "revision": "abc",
    "dtype": "bfloat16",
    "dimensions": 128,
    "encoding": "float",
    "normalize": True,
    "window_tokens": 512,
    "overlap_tokens": 7,
    "context_weight": 0.25,
    "neighbour_weight": 0.3,
    "long_chunks": "pool",
    "empty": "zero",
    "pooling": "mean",
    "query_prefix": "q: ",
    "document_prefix": "d: ",
}
SAME_VECTORS = {
    "device": "cuda:1",
    "batch_tokens": 100,
    "long_queries": "pool",
    "cache": "some/folder",
    "cache_bytes": 2**21,
    "base_url": "http://127.0.0.1:1/v1",
    "timeout": 12.5,
    "max_retries": 3,
    "concurrency": 4,
    "tokenizer": "some/folder",
}
VALUES = CHANGE_VECTORS | SAME_VECTORS
