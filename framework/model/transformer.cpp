#include "framework/model/transformer.hpp"

#include <algorithm>
#include <utility>

#include "framework/kernels/attention.hpp"
#include "framework/kernels/elementwise.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::model {
namespace {

enum Slot : std::size_t { normed_slot, query_slot, key_slot, value_slot, mixed_slot, gate_slot, up_slot };

const InputObserver no_observer;

void observe(const InputObserver& observer, Index block, InputSite site, ConstTensorView input) {
  if (observer) observer(block, site, input);
}

LinearLayer copy_of(const LinearLayer& layer) { return {layer.weight, layer.bias.is_empty() ? Tensor() : layer.bias.clone()}; }
Norm copy_of(const Norm& norm) { return {norm.gain.clone(), norm.bias.is_empty() ? Tensor() : norm.bias.clone()}; }

std::shared_ptr<Block> copy_of(const Block& b) {
  return std::make_shared<Block>(Block{copy_of(b.attention_norm), copy_of(b.mlp_norm), copy_of(b.query), copy_of(b.key),
                                       copy_of(b.value), copy_of(b.output), copy_of(b.gate), copy_of(b.up), copy_of(b.down)});
}

}  // namespace

void apply(const LinearLayer& layer, ConstTensorView x, TensorView y, linalg::Write write) {
  layer.weight->apply(x, y, write);
  if (!layer.bias.is_empty()) kernels::add_bias(layer.bias.view(), y);
}

void apply_norm(const Norm& norm, double epsilon, ConstTensorView x, TensorView y) {
  if (norm.bias.is_empty()) {
    kernels::rms_norm(x, norm.gain.view(), epsilon, y);
  } else {
    kernels::layer_norm(x, norm.gain.view(), norm.bias.view(), epsilon, y);
  }
}

DType activation_type(Precision precision) {
  return precision == Precision::fp32 ? DType::f32 : precision == Precision::bf16 ? DType::bf16 : DType::f64;
}

DType stream_type(Precision precision) { return precision == Precision::fp64 ? DType::f64 : DType::f32; }

std::string_view to_string(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::bf16: return "bf16";
    case Precision::fp64: return "fp64";
  }
  return "?";
}

Precision precision_from(std::string_view text) {
  for (const auto precision : {Precision::fp32, Precision::bf16, Precision::fp64}) {
    if (text == to_string(precision)) return precision;
  }
  throw ConfigError(fmt::format("unknown precision '{}'; known: fp32, bf16, fp64", text));
}

TensorView Workspace::buffer(std::size_t index, Index rows, Index cols, DType dtype) {
  if (buffers_.size() <= index) buffers_.resize(index + 1);
  return resized(buffers_[index], rows, cols, dtype);
}

ConstTensorView Workspace::rotary(Index length, const ModelConfig& config) {
  if (rotary_.rows() < length || rotary_.cols() != config.head_dim || rotary_theta_ != config.rope_theta) {
    rotary_ = kernels::rotary_table(length, config.head_dim, config.rope_theta, stream_type());
    rotary_theta_ = config.rope_theta;
  }
  return std::as_const(rotary_).view();
}

Transformer Transformer::share() const {
  Transformer copy;
  copy.config_ = config_;
  copy.layers_ = layers_;
  copy.embedding_ = embedding_;
  copy.head_ = head_;
  if (positions_) copy.positions_ = std::make_shared<Tensor>(positions_->clone());
  copy.final_norm_ = std::make_shared<Norm>(copy_of(*final_norm_));
  for (const auto& block : blocks_) copy.blocks_.push_back(copy_of(*block));
  return copy;
}

Transformer Transformer::with_blocks(std::span<const Index> blocks) const {
  Transformer student = share();
  student.blocks_.clear();
  for (const Index block : blocks) {
    if (block < 0 || block >= config_.num_blocks) {
      throw ConfigError(fmt::format("student: block {} does not exist; the teacher has blocks 0 to {}", block, config_.num_blocks - 1));
    }
    student.blocks_.push_back(copy_of(*blocks_[static_cast<std::size_t>(block)]));
  }
  if (blocks.empty()) throw ConfigError("student: the list of blocks is empty");
  student.config_.num_blocks = static_cast<Index>(blocks.size());
  student.layers_ = linear_layers(student.config_);
  return student;
}

void Transformer::untie_head() {
  if (!config_.tied_head) return;
  config_.tied_head = false;
  head_ = embedding_;
  layers_ = linear_layers(config_);
}

LinearLayer& Transformer::block_layer(const std::string& name) {
  const auto shape = std::ranges::find(layers_, name, &LayerShape::name);
  KRONLAB_EXPECTS(shape != layers_.end() && shape->block >= 0, "the model has no layer '{}' in a block", name);
  Block& block = *blocks_[static_cast<std::size_t>(shape->block)];
  const std::pair<const char*, LinearLayer*> slots[] = {
      {"c_attn[q]", &block.query}, {"c_attn[k]", &block.key},   {"c_attn[v]", &block.value}, {"attn.c_proj", &block.output},
      {"mlp.c_fc", &block.up},     {"mlp.c_proj", &block.down}, {"q_proj", &block.query},    {"k_proj", &block.key},
      {"v_proj", &block.value},    {"o_proj", &block.output},   {"gate_proj", &block.gate},  {"up_proj", &block.up},
      {"down_proj", &block.down}};
  const auto found = std::ranges::find_if(slots, [&](const auto& s) { return name.ends_with(s.first); });
  KRONLAB_EXPECTS(found != std::end(slots), "no place for layer '{}'", name);
  return *found->second;
}

std::shared_ptr<const linalg::LinearOperator>& Transformer::slot(const std::string& name) {
  if (name == embedding_name(config_)) return embedding_;
  if (name == "lm_head" && !config_.tied_head) return head_;
  return block_layer(name).weight;
}

std::shared_ptr<const linalg::LinearOperator> Transformer::layer(const std::string& name) const {
  return const_cast<Transformer*>(this)->slot(name);
}

void Transformer::replace_layer(const std::string& name, std::shared_ptr<const linalg::LinearOperator> weight) {
  auto& old = slot(name);
  KRONLAB_EXPECTS(!old || (old->rows() == weight->rows() && old->cols() == weight->cols()),
                  "layer '{}' is [{}, {}], its replacement [{}, {}]", name, old->rows(), old->cols(), weight->rows(), weight->cols());
  old = std::move(weight);
}

std::shared_ptr<linalg::Trainable> Transformer::unfreeze_layer(const std::string& name) {
  auto& weight = slot(name);
  const auto* learns = dynamic_cast<const linalg::Trainable*>(weight.get());
  if (!learns) throw ConfigError(fmt::format("layer '{}' is stored in a form that does not learn", name));
  auto own = learns->clone();
  weight = own;
  return own;
}

std::vector<std::pair<std::string, Tensor*>> Transformer::other_tensors() {
  std::vector<std::pair<std::string, Tensor*>> tensors;
  for (const auto& [name, tensor] : std::as_const(*this).other_tensors()) tensors.emplace_back(name, const_cast<Tensor*>(tensor));
  return tensors;
}

std::vector<std::pair<std::string, const Tensor*>> Transformer::other_tensors() const {
  std::vector<std::pair<std::string, const Tensor*>> tensors;
  const bool gpt2 = config_.architecture == Architecture::gpt2;
  const auto add_norm = [&](const std::string& stem, const Norm& norm) {
    tensors.emplace_back(stem + ".weight", &norm.gain);
    if (!norm.bias.is_empty()) tensors.emplace_back(stem + ".bias", &norm.bias);
  };
  if (positions_) tensors.emplace_back("wpe.weight", positions_.get());
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const std::string stem = fmt::format("{}.{}.", gpt2 ? "h" : "layers", b);
    add_norm(stem + (gpt2 ? "ln_1" : "input_layernorm"), blocks_[b]->attention_norm);
    add_norm(stem + (gpt2 ? "ln_2" : "post_attention_layernorm"), blocks_[b]->mlp_norm);
    const std::pair<const char*, const Tensor*> biases[] = {
        {gpt2 ? "attn.c_attn[q]" : "self_attn.q_proj", &blocks_[b]->query.bias},
        {gpt2 ? "attn.c_attn[k]" : "self_attn.k_proj", &blocks_[b]->key.bias},
        {gpt2 ? "attn.c_attn[v]" : "self_attn.v_proj", &blocks_[b]->value.bias},
        {gpt2 ? "attn.c_proj" : "self_attn.o_proj", &blocks_[b]->output.bias},
        {"mlp.gate_proj", &blocks_[b]->gate.bias},
        {gpt2 ? "mlp.c_fc" : "mlp.up_proj", &blocks_[b]->up.bias},
        {gpt2 ? "mlp.c_proj" : "mlp.down_proj", &blocks_[b]->down.bias}};
    for (const auto& [name, bias] : biases) {
      if (!bias->is_empty()) tensors.emplace_back(stem + name + ".bias", bias);
    }
  }
  add_norm(gpt2 ? "ln_f" : "norm", *final_norm_);
  return tensors;
}

Index Transformer::num_parameters_without_head() const {
  Index total = 0;
  for (const auto& [name, tensor] : other_tensors()) total += tensor->size();
  for (const auto& shape : layers_) {
    if (shape.name != "lm_head") total += layer(shape.name)->num_parameters();
  }
  return total;
}

Index Transformer::num_parameters() const {
  return num_parameters_without_head() + (config_.tied_head ? 0 : head_->num_parameters());
}

void Transformer::embed(std::span<const std::int32_t> ids, Index length, TensorView stream) const {
  KRONLAB_EXPECTS(length > 0 && length <= config_.context && static_cast<Index>(ids.size()) % length == 0,
                  "{} tokens in sequences of {} with a context of {}", ids.size(), length, config_.context);
  embedding_->gather_rows(ids, stream);
  if (positions_) kernels::add_positions(positions_->view(), length, stream);
}

void Transformer::run_block(Index index, Index length, TensorView stream, Workspace& workspace, const InputObserver& observer) const {
  KRONLAB_EXPECTS(index >= 0 && index < config_.num_blocks, "block {} of {}", index, config_.num_blocks);
  const Block& block = *blocks_[static_cast<std::size_t>(index)];
  attend(block, index, length, stream, workspace, observer);
  run_mlp(index, stream, workspace, observer);
}

void Transformer::attend(const Block& block, Index index, Index length, TensorView stream, Workspace& workspace,
                         const InputObserver& observer) const {
  const Index n = stream.rows, q_width = config_.num_heads * config_.head_dim, kv_width = config_.num_kv_heads * config_.head_dim;
  const DType type = workspace.activation_type();
  const TensorView normed = workspace.buffer(normed_slot, n, config_.width, type);
  const TensorView query = workspace.buffer(query_slot, n, q_width, type);
  const TensorView key = workspace.buffer(key_slot, n, kv_width, type);
  const TensorView value = workspace.buffer(value_slot, n, kv_width, type);
  const TensorView mixed = workspace.buffer(mixed_slot, n, q_width, type);
  apply_norm(block.attention_norm, config_.norm_epsilon, stream, normed);
  observe(observer, index, InputSite::attention, normed);
  apply(block.query, normed, query);
  apply(block.key, normed, key);
  apply(block.value, normed, value);
  if (config_.architecture == Architecture::llama) {
    const ConstTensorView table = workspace.rotary(length, config_);
    kernels::rotate_heads(table, config_.head_dim, length, query);
    kernels::rotate_heads(table, config_.head_dim, length, key);
  }
  kernels::causal_attention({n / length, length, config_.num_heads, config_.num_kv_heads, config_.head_dim}, query, key, value, mixed);
  observe(observer, index, InputSite::attention_output, mixed);
  apply(block.output, mixed, stream, linalg::Write::add);
}

void Transformer::run_mlp(Index index, TensorView stream, Workspace& workspace, const InputObserver& observer) const {
  KRONLAB_EXPECTS(index >= 0 && index < config_.num_blocks, "block {} of {}", index, config_.num_blocks);
  const Block& block = *blocks_[static_cast<std::size_t>(index)];
  const DType type = workspace.activation_type();
  const TensorView normed = workspace.buffer(normed_slot, stream.rows, config_.width, type);
  const TensorView up = workspace.buffer(up_slot, stream.rows, config_.ffn_width, type);
  apply_norm(block.mlp_norm, config_.norm_epsilon, stream, normed);
  observe(observer, index, InputSite::mlp, normed);
  TensorView hidden = up;
  if (config_.architecture == Architecture::gpt2) {
    block.up.weight->apply(normed, up);
    kernels::gelu(block.up.bias.view(), up);
  } else {
    hidden = workspace.buffer(gate_slot, stream.rows, config_.ffn_width, type);
    apply(block.gate, normed, hidden);
    apply(block.up, normed, up);
    kernels::silu_times(up, hidden);
  }
  observe(observer, index, InputSite::mlp_hidden, hidden);
  apply(block.down, hidden, stream, linalg::Write::add);
}

void Transformer::final_norm(ConstTensorView stream, TensorView normed) const {
  apply_norm(*final_norm_, config_.norm_epsilon, stream, normed);
}

}  // namespace kronlab::model
