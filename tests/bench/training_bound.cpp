#include "tests/bench/training_bound.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "framework/base/progress.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::bench {
namespace {

Tensor filled(DType type, Index size) {
  Tensor values(DType::f32, {size}), result = Tensor::uninitialised(type, {size});
  float x = 0.5f;
  for (float& value : values.values<float>()) value = x = 3.9f * x * (1 - x);
  convert(std::as_const(values).view(), result.view());
  return result;
}

TensorView shaped(TensorView view, Index rows, Index cols) {
  view.rows = rows, view.cols = view.stride = cols;
  return view;
}

template <class Product>
ProductRate timed(double operations, Product product) {
  const double started = now_s();
  product();
  return {now_s() - started, operations};
}

TrainingBound::Site site_of(const model::LayerShape& layer) {
  const bool in_attention =
      layer.site == model::InputSite::attention || layer.site == model::InputSite::attention_output;
  return in_attention ? TrainingBound::attention : TrainingBound::mlp;
}

bool writes_to_stream(const model::LayerShape& layer) {
  return layer.site == model::InputSite::attention_output || layer.site == model::InputSite::mlp_hidden;
}

/// Operations of causal attention, forward.
double causal_operations(const model::ModelConfig& config, Index tokens, Index length) {
  const double keys = static_cast<double>(length + 1) / 2;
  return 4.0 * keys * static_cast<double>(tokens * config.num_heads * config.head_dim * config.num_blocks);
}

}  // namespace

TrainingBound::TrainingBound(const model::Transformer& student, const model::Transformer* teacher,
                             const model::Parameters& parameters, const Options& options)
    : student_(student),
      teacher_(teacher),
      parameters_(parameters),
      options_(options),
      activation_(model::activation_type(options.precision)),
      stream_(model::stream_type(options.precision)) {
  Index widest = 0;
  for (const auto* model : {&student, teacher ? teacher : &student}) {
    for (const auto& layer : model->layers()) {
      if (layer.block >= 0) widest = std::max({widest, layer.rows, layer.cols});
    }
    widest = std::max(widest, model->config().width);
  }
  const Index in_head = std::min(options.head_rows, tokens()) * student.config().vocab_size;
  const Index size = std::max(tokens() * widest, in_head);
  inputs_[0] = filled(activation_, tokens() * widest);
  inputs_[1] = filled(activation_, size);
  outputs_[1] = filled(stream_, size);
  if (activation_ != stream_) outputs_[0] = filled(activation_, tokens() * widest);
}

bool TrainingBound::is_head(const model::Transformer& model, const model::LayerShape& layer) const {
  return layer.block < 0 && (model.config().tied_head || layer.name == "lm_head");
}

ConstTensorView TrainingBound::input(Index rows, Index cols, Index slot) const {
  ConstTensorView view = inputs_[static_cast<std::size_t>(slot)].view();
  view.rows = rows, view.cols = view.stride = cols;
  return view;
}

TensorView TrainingBound::output(Index rows, Index cols, DType type) {
  return shaped(outputs_[type == stream_ ? 1 : 0].view(), rows, cols);
}

TensorView TrainingBound::gradient_of(const model::LayerShape& layer, Tensor& elements) const {
  const auto range = parameters_.range_of(student_.layer(layer.name).get());
  KRONLAB_EXPECTS(range.count == 1, "{} has {} parameters, expected a dense layer that learns", layer.name,
                  range.count);
  const auto& learned = parameters_.tensors()[range.first];
  return shaped(elements.view().block(0, learned.offset, 1, learned.size), layer.rows, layer.cols);
}

/// One row of each layer, so that the copies of the weights in another type are there.
void TrainingBound::convert_weights(const model::Transformer& model) {
  for (const auto& layer : model.layers()) {
    if (layer.block >= 0 || is_head(model, layer))
      model.layer(layer.name)->apply(input(1, layer.cols, 0), output(1, layer.rows, stream_));
  }
}

TrainingBound::Rates TrainingBound::products(Tensor& elements) {
  convert_weights(student_);
  if (teacher_) convert_weights(*teacher_);
  Rates rates;
  const Index num_blocks = student_.config().num_blocks;
  if (teacher_) forward_blocks(*teacher_, teacher_->config().num_blocks, rates);
  forward_blocks(student_, num_blocks, rates);
  both_heads(elements, rates);
  if (options_.recompute) forward_blocks(student_, num_blocks - 1, rates);
  backward_blocks(elements, rates);
  parameters_.changed();  // the next step converts its weights itself
  return rates;
}

void TrainingBound::forward_blocks(const model::Transformer& model, Index end, Rates& rates) {
  for (const auto& layer : model.layers()) {
    if (layer.block < 0 || layer.block >= end) continue;
    const bool to_stream = writes_to_stream(layer);
    const TensorView y = output(tokens(), layer.rows, to_stream ? stream_ : activation_);
    const double operations = 2.0 * static_cast<double>(tokens() * layer.rows * layer.cols);
    rates[forward][site_of(layer)].add(timed(operations, [&] {
      model.layer(layer.name)
          ->apply(input(tokens(), layer.cols, 0), y, to_stream ? linalg::Write::add : linalg::Write::replace);
    }));
  }
}

void TrainingBound::backward_blocks(Tensor& elements, Rates& rates) {
  auto previous = model::InputSite::none;
  for (const auto& layer : student_.layers()) {
    if (layer.block < 0) continue;
    const auto write = layer.site == previous ? linalg::Write::add : linalg::Write::replace;
    previous = layer.site;
    backward_layer(layer, input(tokens(), layer.cols, 0), input(tokens(), layer.rows, 1),
                   output(tokens(), layer.cols, activation_), write, elements, rates);
  }
}

void TrainingBound::both_heads(Tensor& elements, Rates& rates) {
  const auto& layers = student_.layers();
  const auto& layer = *std::ranges::find_if(layers, [&](const auto& l) { return is_head(student_, l); });
  const Index num_parts = (tokens() + options_.head_rows - 1) / options_.head_rows;
  for (Index part = 0; part < num_parts; ++part) {
    const Index count = tokens() * (part + 1) / num_parts - tokens() * part / num_parts;
    for (const auto* model : {&student_, teacher_}) {
      if (!model) continue;
      const double operations = 2.0 * static_cast<double>(count * model->head().rows() * model->head().cols());
      rates[forward][head].add(timed(operations, [&] {
        model->head().apply(input(count, model->head().cols(), 0), output(count, layer.rows, stream_));
      }));
    }
    backward_layer(layer, input(count, layer.cols, 0), input(count, layer.rows, 1),
                   output(count, layer.cols, activation_), linalg::Write::replace, elements, rates);
  }
}

void TrainingBound::backward_layer(const model::LayerShape& layer, ConstTensorView x, ConstTensorView dy, TensorView dx,
                                   linalg::Write write, Tensor& elements, Rates& rates) {
  const Site site = is_head(student_, layer) ? head : site_of(layer);
  const double operations = 2.0 * static_cast<double>(x.rows * layer.rows * layer.cols);
  const TensorView gradient = gradient_of(layer, elements);
  rates[by_weight][site].add(
      timed(operations, [&] { linalg::gemm(linalg::Transpose::yes, dy, linalg::Transpose::no, x, 1.0, gradient); }));
  rates[by_input][site].add(timed(operations, [&] { student_.layer(layer.name)->apply_adjoint(dy, dx, write); }));
}

double TrainingBound::attention_operations() const {
  const double of_student = causal_operations(student_.config(), tokens(), options_.length);
  return 3 * of_student + (teacher_ ? causal_operations(teacher_->config(), tokens(), options_.length) : 0.0);
}

double TrainingBound::bandwidth(Tensor& elements) {
  float* a = elements.values<float>().data();
  const Index half = elements.size() / 2;
  const float* b = a + half;
  const double started = now_s();
#pragma omp parallel for simd schedule(static)
  for (Index i = 0; i < half; ++i) a[i] += 0.5f * b[i];
  return 12.0 * static_cast<double>(half) / (now_s() - started);
}

double TrainingBound::optimizer_bytes() const { return 28.0 * static_cast<double>(parameters_.num_parameters()); }

}  // namespace kronlab::bench
