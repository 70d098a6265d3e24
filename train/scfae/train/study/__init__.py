"""The study beyond the paper: where SCFAE helps, on data of a known structure or on a store.

Every method tries the same settings; validation chooses; fresh draws of data and weights measure.
`questions` says what is asked of whom, `running` runs it, `results` reads it back, `page` tells it.
"""
