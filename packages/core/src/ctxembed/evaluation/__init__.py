"""What context changes, measured on real documents and a real model.

`demo` runs everything: it cuts a `dataset` into a `corpus`, embeds that by several `methods`, and
turns the `vectors` into `findings` and a `report`. Nothing here needs a terminal.
"""
