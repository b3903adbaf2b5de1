"""Search over weights: ask for points, be told what they were worth, measure the front."""
