"""Loads two model folders with transformers and prints how much their logits differ.

    check_export.py FOLDER EXPORTED

For a run whose factors are exact (a Kronecker sum with as many terms as the factors allow), an export has the logits of the
model it came from, up to float32 rounding.
"""

import sys

import torch
from transformers import AutoModelForCausalLM


def logits_of(folder: str) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.arange(24)[None] * 3 % model.config.vocab_size
    with torch.inference_mode():
        return model(ids).logits


a, b = (logits_of(folder) for folder in sys.argv[1:3])
print(f"relative difference of the logits: {((a - b).norm() / a.norm()).item():.3g}")
