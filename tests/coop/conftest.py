"""The tiny CLIP, loaded once for all tests of CoOp."""

import pytest
import torch

from streamapp.models.clip_network import ClipNetwork, load_network
from streamapp.models.clip_source import tiny_source


@pytest.fixture(scope="session")
def clip() -> ClipNetwork:
    source = tiny_source()
    return load_network(source, source.locate())


@pytest.fixture(scope="session")
def vectors(clip: ClipNetwork) -> torch.Tensor:
    """Embeddings to learn from without pictures: (24, 2, D) of unit length, 8 each about three texts."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.from_numpy(clip.encode_texts(["a dog", "a car", "a face"])).view(3, 1, 1, -1)
    cloud = centres + 0.03 * torch.randn(3, 8, 2, clip.width, generator=generator)
    return torch.nn.functional.normalize(cloud.flatten(0, 1), dim=-1)
