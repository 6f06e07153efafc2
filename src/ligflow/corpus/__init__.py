"""Many sentences: corpora, runs that survive interruption, and reports on them.

Needs `pip install 'ligflow[corpus]'`.
"""
