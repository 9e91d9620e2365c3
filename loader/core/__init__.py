"""The pure half of loader: it judges and counts, and knows no file, no database, no screen and no event loop."""
