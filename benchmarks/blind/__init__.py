"""Blind cases for the built-in model: what people send it, made by code that shares nothing with its training.

Own drawing, own sentences, and sources that training leaves out: another synthesizer, people, other fonts, photos,
licences and modules. Every file has `ROWS`: what is asked -> the function that makes case number i of it.
"""
