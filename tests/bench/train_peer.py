"""Training steps of PyTorch on the same weights and ids: what bench_train does, in its fastest operations.

    train_peer.py EXPORT.safetensors gpt2|distill MODE BATCH LENGTH STEPS [ACCUMULATE]

EXPORT is what `bench_train ... export=FILE` writes. MODE: eager-fp32, compile-fp32, eager-bf16, compile-bf16; bf16 is
autocast over float32 weights. Attention is scaled_dot_product_attention, the optimizer AdamW(fused=True). One mode a
process, so that the peak of the resident memory is that mode's.
"""

import contextlib
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from torch_peer import read_safetensors


class Gpt2:
    def __init__(self, config, tensors, length):
        self.tensors, self.config = tensors, config
        self.positions = torch.arange(length)
        self.head = "wte.weight"

    def hidden(self, ids):
        t, heads, eps = self.tensors, self.config["num_heads"], self.config["eps"]
        x = F.embedding(ids, t["wte.weight"]) + F.embedding(self.positions, t["wpe.weight"])
        width = x.shape[-1]
        norm = lambda x, name: F.layer_norm(x, (width,), t[name + ".weight"], t[name + ".bias"], eps)
        linear = lambda x, name: F.linear(x, t[name + ".weight"], t[name + ".bias"])
        for b in range(self.config["num_blocks"]):
            p = f"h.{b}."
            qkv = linear(norm(x, p + "ln_1"), p + "attn.c_attn").split(width, dim=-1)
            q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = x + linear(y, p + "attn.c_proj")
            x = x + linear(F.gelu(linear(norm(x, p + "ln_2"), p + "mlp.c_fc"), approximate="tanh"), p + "mlp.c_proj")
        return norm(x, "ln_f")

    def logits(self, ids):
        return F.linear(self.hidden(ids), self.tensors[self.head])


class Llama(Gpt2):
    def __init__(self, config, tensors, length):
        super().__init__(config, tensors, length)
        self.head = "lm_head.weight" if "lm_head.weight" in tensors else "embed_tokens.weight"
        half = config["head_dim"] // 2
        rates = config["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
        self.cos, self.sin = (torch.cat([f(angles), f(angles)], dim=1).float() for f in (torch.cos, torch.sin))

    def rotate(self, x):
        low, high = x.chunk(2, dim=-1)
        return x * self.cos.to(x.dtype) + torch.cat([-high, low], dim=-1) * self.sin.to(x.dtype)

    def hidden(self, ids):
        t, config = self.tensors, self.config
        x = F.embedding(ids, t["embed_tokens.weight"])
        width, group = x.shape[-1], config["num_heads"] // config["num_kv_heads"]
        norm = lambda x, name: F.rms_norm(x, (width,), t[name + ".weight"], config["eps"])
        for b in range(config["num_blocks"]):
            p = f"layers.{b}."
            y = norm(x, p + "input_layernorm")
            q, k, v = (F.linear(y, t[p + f"self_attn.{part}_proj.weight"]).unflatten(-1, (-1, config["head_dim"])).transpose(1, 2)
                       for part in "qkv")
            q, k = self.rotate(q), self.rotate(k)
            k, v = (part.repeat_interleave(group, 1) for part in (k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = x + F.linear(y, t[p + "self_attn.o_proj.weight"])
            y = norm(x, p + "post_attention_layernorm")
            gate, up = (F.linear(y, t[p + f"mlp.{part}_proj.weight"]) for part in ("gate", "up"))
            x = x + F.linear(F.silu(gate) * up, t[p + "mlp.down_proj.weight"])
        return norm(x, "norm")


def cross_entropy(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def main():
    path, what, mode = sys.argv[1:4]
    batch, length, num_steps = (int(word) for word in sys.argv[4:7])
    accumulate = int(sys.argv[7]) if len(sys.argv) > 7 else 1
    if mode.endswith("bf16") and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        sys.exit(f"# {mode}: PyTorch has no bf16 products for this CPU, a step would take minutes")
    torch.set_num_threads(2)
    config, tensors = read_safetensors(path)
    ids = tensors.pop("ids").long().view(num_steps + 1, accumulate, batch, length)
    family = Gpt2 if what == "gpt2" else Llama
    teacher = family(config, {name: t.clone() for name, t in tensors.items()}, length) if what == "distill" else None
    for tensor in tensors.values():
        tensor.requires_grad_()
    student = family(config, tensors, length)
    parameters = list(tensors.values())
    optimizer = torch.optim.AdamW([{"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.1},
                                   {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}],
                                  lr=1e-4 if teacher else 6e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)
    precision = lambda: torch.autocast("cpu", torch.bfloat16) if mode.endswith("bf16") else contextlib.nullcontext()

    def target_of(ids):
        with torch.no_grad(), precision():
            return F.log_softmax(teacher.logits(ids).float(), dim=-1)

    def loss_of(ids, target):
        with precision():
            logits = student.logits(ids).float()
            if target is None:
                return cross_entropy(logits, ids)
            kl = F.kl_div(F.log_softmax(logits, dim=-1), target, reduction="sum", log_target=True) / ids.numel()
            return kl + 0.5 * cross_entropy(logits, ids)

    if mode.startswith("compile"):
        target_of, loss_of = torch.compile(target_of, dynamic=False), torch.compile(loss_of, dynamic=False)

    def step(ids):
        total = 0.0
        for micro_batch in ids:
            loss = loss_of(micro_batch, target_of(micro_batch) if teacher else None) / accumulate
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return total

    losses, seconds = [], []
    for step_ids in ids:
        started = time.perf_counter()
        losses.append(step(step_ids))
        seconds.append(time.perf_counter() - started)
    print(f"# {mode}: first step {seconds[0]:.1f} s, then {' '.join(f'{s:.2f}' for s in seconds[1:])}", file=sys.stderr)
    print(f"seconds_per_step {statistics.median(seconds[1:]):.4f}")
    print(f"tokens_per_second {accumulate * batch * length / statistics.median(seconds[1:]):.1f}")
    print(f"first_loss {losses[0]:.7f}\nlast_loss {losses[-1]:.7f}")
    print(f"peak_mib {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f}")


if __name__ == "__main__":
    main()
