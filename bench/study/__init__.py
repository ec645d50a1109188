"""Listening studies: people rate pieces and say which a human composed.

A study is a folder. `muspike study new` makes it: its excerpts, their sound, the questionnaire, who hears what, and
the plan of the analysis. `study serve` asks the listeners, `study report` analyses their answers, and `study simulate`
holds the analysis against listeners whose effects are known. The packages that these need are the extra `study` of
muspike.
"""
