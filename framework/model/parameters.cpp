#include "framework/model/parameters.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace kronlab::model {
namespace {

constexpr Index alignment = 16;  // elements: a cache line of float32

Tensor converted(const Tensor& from, DType dtype) {
  Tensor to = Tensor::uninitialised(dtype, from.shape());
  convert(from.view(), to.view());
  return to;
}

}  // namespace

Parameters::Parameters(Transformer& model, const Predicate& learns, std::span<const NamedLayer> extra) {
  const auto& config = model.config();
  const bool gpt2 = config.architecture == Architecture::gpt2;
  const auto layers = model.layers();
  const auto others = model.other_tensors();
  const auto add_others = [&](const std::string& stem) {
    for (const auto& [name, tensor] : others) {
      if (name.starts_with(stem) && learns(name)) add(name, tensor, false);
    }
  };
  add_others(gpt2 ? "ln_f." : "norm.");
  if (!config.tied_head && learns("lm_head")) add_layer("lm_head", model.unfreeze_layer("lm_head"));
  close_bucket();
  first_block_ = config.num_blocks;
  for (Index block = config.num_blocks - 1; block >= 0; --block) {
    for (const auto& layer : layers) {
      if (layer.block == block && learns(layer.name)) add_layer(layer.name, model.unfreeze_layer(layer.name));
    }
    add_others(fmt::format("{}.{}.", gpt2 ? "h" : "layers", block));
    close_bucket();
    if (buckets_.back().end > buckets_.back().begin) first_block_ = block;
  }
  if (learns(embedding_name(config))) add_layer(embedding_name(config), model.unfreeze_layer(embedding_name(config)));
  for (const auto& [name, tensor] : others) {
    if (name == "wpe.weight" && learns(name)) add(name, tensor, true);
  }
  if (num_elements_ > buckets_.back().end) first_block_ = -1;
  for (const auto& [name, layer] : extra) add_layer(name, layer);
  close_bucket();
  if (tensors_.empty()) throw ConfigError("nothing of the model learns: 'train' selects no tensor");
}

void Parameters::add(const std::string& name, Tensor* value, bool is_matrix) {
  ranges_[value] = {tensors_.size(), 1};
  tensors_.push_back({name, value, num_elements_, value->size(), is_matrix});
  num_elements_ += (value->size() + alignment - 1) / alignment * alignment;
}

void Parameters::add_layer(const std::string& name, std::shared_ptr<linalg::Trainable> layer) {
  const auto first = tensors_.size();
  for (const auto& parameter : layer->parameters()) add(fmt::format("{}.{}", name, parameter.name), parameter.value, true);
  ranges_[static_cast<const linalg::LinearOperator*>(layer.get())] = {first, tensors_.size() - first};
  layers_.push_back(std::move(layer));
}

void Parameters::close_bucket() {
  const Index begin = buckets_.empty() ? 0 : buckets_.back().end;
  buckets_.push_back({begin, num_elements_});
}

Index Parameters::num_parameters() const {
  Index total = 0;
  for (const auto& tensor : tensors_) total += tensor.size;
  return total;
}

Parameters::Range Parameters::range_of(const void* operator_or_tensor) const {
  const auto found = ranges_.find(operator_or_tensor);
  return found == ranges_.end() ? Range{} : found->second;
}

void Parameters::set_type(DType dtype) {
  KRONLAB_EXPECTS(dtype == DType::f32 || dtype == DType::f64, "parameters of type {}", to_string(dtype));
  for (auto& tensor : tensors_) {
    if (tensor.value->dtype() != dtype) *tensor.value = converted(*tensor.value, dtype);
  }
  changed();
}

void Parameters::changed() const {
  for (const auto& layer : layers_) layer->parameters_changed();
}

Gradients::Gradients(const Parameters& parameters)
    : parameters_(&parameters), elements_(parameters.dtype(), {parameters.num_elements()}) {
  const TensorView all = elements_.view();
  for (const auto& tensor : parameters.tensors()) {
    TensorView view = all.block(0, tensor.offset, 1, tensor.size);
    view.rows = tensor.value->rows(), view.cols = tensor.value->cols(), view.stride = view.cols;
    views_.push_back(view);
  }
}

void Gradients::clear() { std::memset(elements_.view().data, 0, static_cast<std::size_t>(elements_.size_bytes())); }

std::span<const TensorView> Gradients::of(const void* operator_or_tensor) const {
  const auto range = parameters_->range_of(operator_or_tensor);
  return std::span(views_).subspan(range.first, range.count);
}

TensorView Gradients::of_tensor(const Tensor& tensor) const {
  const auto views = of(&tensor);
  return views.empty() ? TensorView() : views[0];
}

}  // namespace kronlab::model
