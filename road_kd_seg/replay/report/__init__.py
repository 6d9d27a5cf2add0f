"""The report of a replay: HTML page, JSON, CSV."""
