"""A server that speaks the wire format of the embeddings API from local weights (extra `server`).

`app` puts it together. A request goes through `middleware` (key, id, metrics, log; what pages
in `browsers` may not do), `routes` (which handler), `request_body` and `schemas` (size and shape),
`service` (model id, tokens, plan), `dispatcher` (one queue in front of the model, in the order of
`scheduling`) and `response_body` (rows to JSON).
"""

from ctxembed.server.app import create_app

__all__ = ["create_app"]
