"""What a person looks at: the terminal table and the page."""
