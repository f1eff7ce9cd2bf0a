"""Training-free models of co-occurrence and text: the text filter, and EASE with a text prior.

Nothing is imported here, so that the options are read without torch.  This package knows sparse
matrices, tensors and :mod:`recbole_darec.numerics`; it knows no RecBole, no file, and neither
backbones nor aligners, which both use it.
"""
