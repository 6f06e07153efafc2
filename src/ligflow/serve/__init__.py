"""A local web server: texts in, flows out, one at a time. Needs `pip install 'ligflow[serve]'`."""
