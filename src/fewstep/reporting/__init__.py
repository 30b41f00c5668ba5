"""Scores for people: tables, plots, the leaderboard and the report in one HTML file."""
