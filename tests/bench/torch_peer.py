"""Tokens per second of PyTorch on the same weights and windows: a LLaMA forward pass in its fastest operations.

    torch_peer.py EXPORT.safetensors WINDOWS fp32|bf16 [ROUNDS] [eager|compile]

EXPORT is what bench_export writes: the tensors under Hugging Face's names, the token ids, the configuration as metadata.
Attention is scaled_dot_product_attention, the norms rms_norm, the loss cross_entropy over all of a window's logits or over
slices of them, whichever is faster.
"""

import json
import mmap
import statistics
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F


def read_safetensors(path):
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    size = struct.unpack("<Q", memory[:8])[0]
    header = json.loads(memory[8 : 8 + size])
    config = json.loads(header.pop("__metadata__")["config"])
    types = {"F32": np.float32, "I32": np.int32}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(memory, types[entry["dtype"]], (end - begin) // 4, 8 + size + begin)
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return config, tensors


class Llama:
    def __init__(self, config, tensors, dtype, length):
        self.heads, self.kv_heads, self.dim = config["num_heads"], config["num_kv_heads"], config["head_dim"]
        self.eps, self.dtype = config["eps"], dtype
        cast = lambda name: tensors[name].to(dtype).contiguous()
        self.embedding = cast("embed_tokens.weight")
        self.norm = cast("norm.weight")
        self.blocks = []
        for b in range(config["num_blocks"]):
            p = f"layers.{b}."
            qkv = torch.cat([cast(p + f"self_attn.{x}_proj.weight") for x in "qkv"])
            gate_up = torch.cat([cast(p + f"mlp.{x}_proj.weight") for x in ("gate", "up")])
            self.blocks.append((cast(p + "input_layernorm.weight"), qkv, cast(p + "self_attn.o_proj.weight"),
                                cast(p + "post_attention_layernorm.weight"), gate_up, cast(p + "mlp.down_proj.weight")))
        half = self.dim // 2
        rates = config["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) * 2 / self.dim)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
        angles = torch.cat([angles, angles], dim=1)
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def rotate(self, x):
        low, high = x.chunk(2, dim=-1)
        return x * self.cos[: x.shape[-2]] + torch.cat([-high, low], dim=-1) * self.sin[: x.shape[-2]]

    def hidden(self, ids):
        x = F.embedding(ids, self.embedding)
        n, width = x.shape
        q_width, kv_width = self.heads * self.dim, self.kv_heads * self.dim
        for norm1, qkv, out, norm2, gate_up, down in self.blocks:
            q, k, v = F.linear(F.rms_norm(x, (width,), norm1, self.eps), qkv).split([q_width, kv_width, kv_width], dim=-1)
            q = self.rotate(q.view(n, self.heads, self.dim).transpose(0, 1))
            k = self.rotate(k.view(n, self.kv_heads, self.dim).transpose(0, 1))
            v = v.view(n, self.kv_heads, self.dim).transpose(0, 1)
            group = self.heads // self.kv_heads
            k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
            y = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
            x = x + F.linear(y.transpose(0, 1).reshape(n, q_width), out)
            gate, up = F.linear(F.rms_norm(x, (width,), norm2, self.eps), gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.rms_norm(x, (width,), self.norm, self.eps)

    def loss_whole(self, ids, targets):
        return F.cross_entropy(F.linear(self.hidden(ids), self.embedding).float(), targets, reduction="sum")

    def loss_by_rows(self, ids, targets):
        total = torch.zeros(())
        for rows, wanted in zip(self.hidden(ids).split(128), targets.split(128)):
            total = total + F.cross_entropy(F.linear(rows, self.embedding).float(), wanted, reduction="sum")
        return total


def main():
    path, num_windows, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    modes = sys.argv[5:] or ["eager"]
    torch.set_num_threads(2)
    config, tensors = read_safetensors(path)
    ids = tensors["ids"].long()
    windows = [ids[i * 1024 : (i + 1) * 1024] for i in range(num_windows)]
    model = Llama(config, tensors, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], 1024)
    best = 0.0
    with torch.inference_mode():
        for mode in modes:
            for name in ("loss_whole", "loss_by_rows"):
                step = getattr(model, name)
                if mode == "compile":
                    step = torch.compile(step, dynamic=False)
                try:
                    started = time.perf_counter()
                    step(windows[0][:-1], windows[0][1:])
                    first_s = time.perf_counter() - started
                except Exception as error:  # a mode that does not work here is no peer
                    print(f"# {mode} {name}: {type(error).__name__}", file=sys.stderr)
                    continue
                speeds = []
                for _ in range(rounds):
                    started = time.perf_counter()
                    total = sum(step(w[:-1], w[1:]).item() for w in windows)
                    speeds.append(num_windows * 1023 / (time.perf_counter() - started))
                speed = statistics.median(speeds)
                loss = total / num_windows / 1023
                print(f"# {mode} {name}: {speed:.1f} tokens/s, mean loss {loss:.6f}, first call {first_s:.1f} s", file=sys.stderr)
                best = max(best, speed)
    print(f"tokens_per_second {best:.1f}")


if __name__ == "__main__":
    main()
