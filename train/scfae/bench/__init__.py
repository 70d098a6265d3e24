"""Side by side with the peers, in one run, as ratios: what `scfae bench` measures.

Beside `scfae.demo` and above the parts, since a benchmark uses all of them and none may use it. The
peers come with the extra `scfae[bench]`, and no part imports them.
"""
