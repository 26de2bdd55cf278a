"""A predictor or a recipe as an HTTP service: ``papermage-serve``.

The process that listens holds no model: it reads requests, within limits, and passes their bytes on to processes of
their own (`child`). Those of the model take what came from several clients as one batch; those that read uploaded files
can be ended when a file takes too long. What they return goes back as it is.
"""
