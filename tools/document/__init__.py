"""The generated documents, a module for each: functions from the models or a file to text.

``python -m tools.document`` writes them.
"""
