"""A small street world and writers that give it the layout of real data sets.

``build_town`` makes a scene from a seed, ``render_snippet`` drives a camera through it, ``sample_cityscapes`` and its
siblings write data sets into the user's cache. It is drawn by NumPy and OpenCV.
"""
