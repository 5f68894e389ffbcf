"""The commands of the command line.

One file for each command (`queue retry`: queue.py), and the table of all: commandline.py.
"""
