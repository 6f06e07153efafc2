"""A local web server: texts in, answers and flows out, in turn. Needs `pip install 'ligflow[serve]'`."""
