"""A local web server: texts in, answers and flows out, one at a time. Needs `pip install 'ligflow[serve]'`."""
