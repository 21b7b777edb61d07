"""Runs the migrations and finds the database; imports nothing of the models."""
