#include "experiments/pipeline/token_cost.hpp"

namespace kronlab::experiments {

double TokenCost::Product::seconds(const TokenCost& of) const {
  const double rate = of.precision_ == model::Precision::fp64 ? of.rates_.gemm_fp64_gflops
                                                              : of.rates_.gemm_gflops(of.precision_ == model::Precision::bf16, rows, cols);
  return 2e-9 * macs / rate;
}

TokenCost::TokenCost(const model::ModelConfig& config, model::Precision precision, Index length, const MachineRates& rates)
    : config_(config), precision_(precision), length_(length), rates_(rates) {
  head_name_ = config.tied_head ? model::embedding_name(config) : "lm_head";
  for (const auto& shape : model::linear_layers(config)) {
    const auto rows = static_cast<double>(shape.rows), cols = static_cast<double>(shape.cols);
    if (shape.block >= 0) {
      layers_[shape.name] = {shape.block, {rows * cols, rows, cols}};
    } else if (shape.name == head_name_) {
      head_ = {rows * cols, rows, cols};
    }
  }
}

TokenCost::TokenCost(const ExperimentSpec& spec, const CompressionPlan& plan, Index last_stage, Index length, const MachineRates& rates)
    : TokenCost(plan.config, spec.precision, length, rates) {
  for (Index stage = 0; stage <= last_stage; ++stage) {
    for (const auto& layer : plan.stages[static_cast<std::size_t>(stage)].layers) {
      const auto found = layers_.find(layer.layer);
      if (found == layers_.end() && layer.layer != head_name_) continue;  // an embedding is looked up
      Product& product = found == layers_.end() ? head_ : found->second.product;
      const auto& decomposer = *spec.stages[static_cast<std::size_t>(stage)].parts[layer.part].decomposer;
      const auto macs = layer.factor.empty() ? decomposer.multiply_adds(layer.name, layer.rows, layer.cols) : std::nullopt;
      if (macs) {
        product.macs = *macs;
      } else {
        product.macs += static_cast<double>(layer.parameters_after - layer.parameters_before);
        product.rows = product.cols = product.macs / static_cast<double>(layer.rows + layer.cols);  // the inner extent of two factors
      }
    }
  }
}

double TokenCost::attention() const {
  const double keys = static_cast<double>(length_ + 1) / 2;
  return 4e-9 * keys * static_cast<double>(config_.num_heads * config_.head_dim) / rates_.attention_gflops;
}

/// Two norms, positions or biases of attention, the activation function, and reading the stream for two residual sums.
double TokenCost::elementwise() const {
  const double number = static_cast<double>(size_of(model::activation_type(precision_))), stream = static_cast<double>(size_of(model::stream_type(precision_)));
  const double width = static_cast<double>(config_.width), ffn = static_cast<double>(config_.ffn_width);
  const double query = static_cast<double>(config_.num_heads * config_.head_dim), key = static_cast<double>(config_.num_kv_heads * config_.head_dim);
  const bool is_llama = config_.architecture == model::Architecture::llama;
  const double norms = 2 * (stream + number) * width, sums = 2 * stream * width;
  const double middle = (is_llama ? 3 : 2) * number * ffn;
  const double attended = 2 * number * (is_llama ? query + key : query + 2 * key + 2 * width);
  return 1e-9 * (norms + sums + middle + attended) / rates_.elementwise_gb_s;
}

double TokenCost::block(Index index) const {
  double seconds = attention() + elementwise();
  for (const auto& [name, layer] : layers_) {
    if (layer.block == index) seconds += layer.product.seconds(*this);
  }
  return seconds;
}

double TokenCost::all_blocks() const {
  double seconds = static_cast<double>(config_.num_blocks) * (attention() + elementwise());
  for (const auto& [name, layer] : layers_) seconds += layer.product.seconds(*this);
  return seconds;
}

double TokenCost::scored_head() const { return logits() + 1e-9 * static_cast<double>(config_.vocab_size) / rates_.likelihood_glogits_s; }

double TokenCost::backward(Index first_block, const std::set<std::string>& learning) const {
  const auto of = [&](const std::string& name, const Product& product) {
    return product.seconds(*this) * (learning.contains(name) ? 2 : 1);
  };
  double seconds = of(head_name_, head_);
  for (const auto& [name, layer] : layers_) {
    if (layer.block >= first_block) seconds += of(name, layer.product);
  }
  return seconds + static_cast<double>(config_.num_blocks - first_block) * 2 * (attention() + elementwise());
}

}  // namespace kronlab::experiments
