"""Small modules that every backbone is wired from: resnets and the three kinds of attention."""

from models.layers.attention import CrossAttention, KeyValue, ReferenceAttention
from models.layers.audio import AudioAttention, AudioTokens
from models.layers.embedding import timestep_embedding
from models.layers.resnet import Downsample, ResnetBlock, Upsample
from models.layers.temporal import TemporalAttention

__all__ = [
    "AudioAttention",
    "AudioTokens",
    "CrossAttention",
    "Downsample",
    "KeyValue",
    "ReferenceAttention",
    "ResnetBlock",
    "TemporalAttention",
    "Upsample",
    "timestep_embedding",
]
