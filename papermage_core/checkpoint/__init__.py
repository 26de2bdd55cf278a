"""A trained model as one folder: JSON, safetensors and what the encoder saved. No pickle.

    checkpoints/
      papermage.json      format version; components, options, distributions and versions; labels; checksums
      model.safetensors   the weights
      encoder/            what the encoder saved
      learned.json        what encoder and heads learned from the training data, where they learn
      profile.json        words, entity texts and documents of the training data, as hashes
      learned/            what they learned that is a file of its own
      processors/         what processors read beside their options: the checkpoint of a predictor
      README.md           the model card

One that ``papermage-export`` wrote has format version 2, ``model.onnx`` (and ``model.int8.onnx``) for the encoder, and
in ``model.safetensors`` only what heads decode with.

The folder is written beside its place and swapped in when it is whole: whoever looks sees the old one or the new one.
"""

from papermage_core.checkpoint.content import EXPORT_VERSION, FORMAT_VERSION
from papermage_core.checkpoint.loading import (
    Checkpoint,
    check,
    copy,
    digest,
    load,
    read_blueprint,
    read_guarantees,
    read_json,
    read_profile,
    read_reference,
)
from papermage_core.checkpoint.saving import export, save, update

__all__ = [
    "EXPORT_VERSION",
    "FORMAT_VERSION",
    "Checkpoint",
    "check",
    "copy",
    "digest",
    "export",
    "load",
    "read_blueprint",
    "read_guarantees",
    "read_json",
    "read_profile",
    "read_reference",
    "save",
    "update",
]
