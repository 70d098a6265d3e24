"""The study beyond the paper: where SCFAE helps, on data whose structure is known.

Every method tries the same settings; validation chooses; fresh draws of data and weights measure.
`questions` says what is asked of whom, `running` runs it, `results` reads it back, `page` tells it.
"""
