"""What is known of an example: its maps, as data, files, tables, graphs and traces."""
