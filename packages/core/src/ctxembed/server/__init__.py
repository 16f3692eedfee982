"""A server that speaks the embeddings API's wire from local weights (extra `server`).

`app` puts it together. A request goes through `gate` (key, body cap, log), `schemas` and `names` (is it
well formed, is it ours), `service` (tokenise and plan), `dispatch` (one queue in front of the model,
windows of different requests in one batch) and `replies` (rows to bytes).
"""

from ctxembed.server.app import create_app

__all__ = ["create_app"]
