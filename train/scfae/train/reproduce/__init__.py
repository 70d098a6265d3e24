"""The paper's tables, printed figures beside measured ones.

`tables` holds what is printed, `data` says which columns play which part, `protocols` how methods
are trained, `plan` what is run, `running` runs it, `results` reads it back, `verdicts` says what of
it is more than noise, `exports` and `page` show it; `costs` is Tables 12 and 13.
"""
