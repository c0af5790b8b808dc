"""Tokens per second of PyPI's `tokenizers` on one file, encoded in one call by one thread.

    tokenizers_peer.py TEXT VOCAB_JSON MERGES_TXT [RUNS]

Of its two ways to encode (with and without offsets) the faster one counts.
"""

import os
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402  (after the settings)


def fresh_tokenizer(vocab: str, merges: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE.from_file(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def seconds(encode, text: str) -> float:
    started = time.perf_counter()
    encode(text)
    return time.perf_counter() - started


def main() -> None:
    path, vocab, merges = sys.argv[1:4]
    runs = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    num_tokens = len(fresh_tokenizer(vocab, merges).encode(text).ids)
    plain, fast = [], []
    for _ in range(runs):
        plain.append(seconds(fresh_tokenizer(vocab, merges).encode, text))
        tokenizer = fresh_tokenizer(vocab, merges)
        if hasattr(tokenizer, "encode_batch_fast"):
            fast.append(seconds(lambda t, k=tokenizer: k.encode_batch_fast([t]), text))
    best = min(statistics.median(times) for times in (plain, fast) if times)
    print(f"tokens_per_second {num_tokens / best:.0f}")
    print(f"tokens {num_tokens}")


if __name__ == "__main__":
    main()
