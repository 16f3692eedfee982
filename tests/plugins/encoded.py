"""A backend's rows as they are stored, in one step."""

from ctxembed.encoding import dequantize, quantize, stored_form


def encode(rows, form, *, encoding, quantizer, dimensions, unit=False):
    stored = stored_form(encoding, quantizer)
    kept = quantize(rows, form, stored, quantizer=quantizer, dimensions=dimensions)
    return dequantize(kept, encoding=encoding, dimensions=dimensions, unit=unit)
