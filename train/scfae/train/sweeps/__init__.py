"""Sweeps: many runs in one folder, figures as mean and deviation over seeds.

`plan` says what is run, `folder` where and by which rules it goes on, `running` and `children` run
it, `results` reads back what came out.
"""
