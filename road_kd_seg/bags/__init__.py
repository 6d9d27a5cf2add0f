"""Recordings: read, write, pair and play rosbags."""
