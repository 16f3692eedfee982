"""What context changes, measured on real documents and a real model.

`demo` runs it: `dataset`, `corpus`, `methods` and their `vectors`, `ranking`, `metrics`,
`intervals`, `comparison`, `changed_hits`, `verdict`, and then the `report`.
"""
