"""A small generated street world, and writers that store it in the layout of real data sets.

``build_town`` creates a scene from a seed, and ``render_snippet`` moves a camera through it. ``sample_cityscapes`` and
similar functions write data sets into the user's cache. Rendering uses NumPy and OpenCV.
"""
