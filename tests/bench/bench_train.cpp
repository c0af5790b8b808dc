// Speed and memory of training steps.
//   [mpirun -n N] bench_train gpt2 - PRECISION BATCH LENGTH STEPS [ACCUMULATE] [WORD...]
//   [mpirun -n N] bench_train distill MODEL.gguf PRECISION BATCH LENGTH STEPS [ACCUMULATE] [WORD...]
// WORD: recompute, no-bound, export=FILE, and for gpt2 blocks=N, width=N (heads of 64, MLPs of 4 widths).
// gpt2: 124M parameters from nothing by cross entropy; distill: a copy of MODEL learns from it by KL + 0.5 ce. Random
// ids; AdamW, weight decay, clipping; ACCUMULATE micro-batches of BATCH x LENGTH tokens a step over all ranks. The
// first step is not counted. With export, only writes the initial weights and the ids of all steps, for train_peer.py.
// On one rank it also prints the bound of a step (training_bound.hpp), measured between the steps:
// `products_per_second` tokens by products alone, `roofline_per_second` with attention at the rate of the products and
// AdamW's bytes at the bandwidth of a += s b.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "distill/trainer.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/model/random_weights.hpp"
#include "framework/storage/model_files.hpp"
#include "tests/bench/export_model.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/bench/training_bound.hpp"

namespace {

using namespace kronlab;
using bench::median;
using bench::TrainingBound;

struct Arguments {
  bool distills = false;
  std::string model;
  Index num_steps = 0;  ///< without the first
  distill::TrainerOptions trainer;
  bool wants_bound = true;
  std::string export_to;
  Index blocks = 12, width = 768;
};

std::optional<Arguments> parse(int argc, char** argv) {
  if (argc < 7) return std::nullopt;
  Arguments arguments;
  const std::string what = argv[1];
  if (what != "gpt2" && what != "distill") return std::nullopt;
  arguments.distills = what == "distill";
  arguments.model = argv[2];
  arguments.trainer.precision = model::precision_from(argv[3]);
  arguments.trainer.micro_batch = std::atoi(argv[4]);
  arguments.trainer.window = std::atoi(argv[5]);
  arguments.num_steps = std::atoi(argv[6]);
  for (int i = 7; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "recompute") {
      arguments.trainer.recompute = model::Recompute::blocks;
    } else if (word == "no-bound") {
      arguments.wants_bound = false;
    } else if (word.starts_with("export=")) {
      arguments.export_to = word.substr(7);
    } else if (word.starts_with("blocks=")) {
      arguments.blocks = std::atoi(word.c_str() + 7);
    } else if (word.starts_with("width=")) {
      arguments.width = std::atoi(word.c_str() + 6);
    } else if (std::atoi(argv[i]) > 0) {
      arguments.trainer.num_micro_batches = std::atoi(argv[i]);
    } else {
      return std::nullopt;
    }
  }
  if (arguments.blocks < 1 || arguments.width < 64 || arguments.width % 64 != 0) return std::nullopt;
  return arguments;
}

/// 124M parameters with 12 blocks and a width of 768.
model::ModelConfig gpt2(Index blocks, Index width) {
  model::ModelConfig config;
  config.architecture = model::Architecture::gpt2;
  config.vocab_size = 50257, config.context = 1024;
  config.width = width, config.ffn_width = 4 * width, config.num_blocks = blocks;
  config.num_heads = config.num_kv_heads = width / 64, config.head_dim = 64;
  config.tied_head = true;
  return config;
}

/// What is trained: configuration and weights, whatever their origin.
struct Subject {
  explicit Subject(const Arguments& arguments) {
    if (arguments.distills) {
      files = storage::ModelFiles::open(arguments.model);
      config = model::ModelConfig::from_json(files->text("config.json").value(), arguments.model);
    } else {
      config = gpt2(arguments.blocks, arguments.width);
      random = std::make_unique<model::RandomWeights>(config, RandomStream(1).child("weights"));
    }
  }
  const TensorSource& weights() const { return files ? files->tensors() : *random; }

  model::ModelConfig config;
  std::unique_ptr<storage::ModelFiles> files;
  std::unique_ptr<model::RandomWeights> random;
};

void fill_window(const model::ModelConfig& config, Index step, Index window, std::span<std::int32_t> ids) {
  auto random =
      RandomStream(1).child("ids").child(static_cast<std::uint64_t>(step)).child(static_cast<std::uint64_t>(window));
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(config.vocab_size));
}

void export_all(const Arguments& arguments, const Subject& subject) {
  const auto& trainer = arguments.trainer;
  std::vector<std::int32_t> ids(static_cast<std::size_t>((arguments.num_steps + 1) * trainer.tokens_per_step()));
  const auto window = static_cast<std::size_t>(trainer.window);
  for (std::size_t i = 0; i < ids.size() / window; ++i) {
    const auto number = static_cast<Index>(i);
    fill_window(subject.config, number / trainer.windows_per_step(), number % trainer.windows_per_step(),
                std::span(ids).subspan(i * window, window));
  }
  bench::export_model(arguments.export_to, subject.config, subject.weights(), ids);
}

distill::LossOptions losses(bool distills) {
  distill::LossOptions options;
  options.weights[distill::LossTerm::ce] = distills ? 0.5 : 1.0;
  options.weights[distill::LossTerm::kl] = distills ? 1.0 : 0.0;
  return options;
}

/// The parts of a step that products, attention and the optimizer set, several times over.
struct Bounds {
  std::vector<double> products_s, attention_s, optimizer_s, step_s;
  TrainingBound::Rates rates{};

  void measure(TrainingBound& bound, Index num_micro_batches, Tensor& elements) {
    const auto found = bound.products(elements);
    bench::ProductRate all;
    for (int direction = 0; direction < TrainingBound::num_directions; ++direction) {
      for (int site = 0; site < TrainingBound::num_sites; ++site) {
        all.add(found[direction][site]);
        rates[direction][site].add(found[direction][site]);
      }
    }
    const auto count = static_cast<double>(num_micro_batches);
    products_s.push_back(count * all.seconds);
    attention_s.push_back(count * bound.attention_operations() * all.seconds / all.operations);
    optimizer_s.push_back(bound.optimizer_bytes() / TrainingBound::bandwidth(elements));
    step_s.push_back(products_s.back() + attention_s.back() + optimizer_s.back());
  }

  void print(double tokens, double tokens_per_second) const {
    const double roofline = tokens / median(step_s);
    std::printf("products_per_second %.1f\nroofline_per_second %.1f\nroofline_share %.3f\n",
                tokens / median(products_s), roofline, tokens_per_second / roofline);
    std::printf("# of the bound: products %.3f s, attention %.3f s, optimizer %.3f s\n", median(products_s),
                median(attention_s), median(optimizer_s));
    constexpr const char* directions[] = {"forward", "by input", "by weight"};
    constexpr const char* sites[] = {"head", "mlp", "attention"};
    for (int site = 0; site < TrainingBound::num_sites; ++site) {
      for (int direction = 0; direction < TrainingBound::num_directions; ++direction) {
        const auto& rate = rates[direction][site];
        std::printf("# products %-9s %-9s %7.3f s %6.1f GFLOP/s\n", sites[site], directions[direction],
                    rate.seconds / static_cast<double>(step_s.size()), rate.gflops());
      }
    }
  }
};

int run_benchmark(int argc, char** argv, const comm::Communicator& world) {
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "usage: %s gpt2|distill MODEL_OR_- PRECISION BATCH LENGTH STEPS [ACCUMULATE] [WORD...]\n",
                 argv[0]);
    return 2;
  }
  silence_log();
  const Subject subject(*arguments);
  if (!arguments->export_to.empty()) return export_all(*arguments, subject), 0;
  auto student = model::Transformer::load(subject.config, subject.weights());
  std::optional<model::Transformer> teacher_model;
  if (arguments->distills) teacher_model = student.share();
  const auto* teacher = teacher_model ? &*teacher_model : nullptr;
  model::Parameters parameters(student, [](const std::string&) { return true; });
  std::vector<distill::TensorSettings> settings;
  for (const auto& tensor : parameters.tensors()) settings.push_back({1.0, tensor.is_matrix ? 0.1 : 0.0});
  distill::DistillationLoss loss(losses(arguments->distills), student.config(), teacher ? &teacher->config() : nullptr,
                                 RandomStream(1));
  const auto& options = arguments->trainer;
  distill::Trainer trainer(world, student, teacher, loss, parameters, settings, options);

  const double rate = arguments->distills ? 1e-4 : 6e-4;
  std::vector<double> seconds;
  double first_loss = 0, last_loss = 0;
  bench::PeakMemory memory;
  std::unique_ptr<TrainingBound> bound;
  Bounds bounds;
  for (Index step = 0; step <= arguments->num_steps; ++step) {
    world.barrier();
    const double started = now_s();
    const auto result = trainer.step(
        rate, [&](Index window, std::span<std::int32_t> ids) { fill_window(subject.config, step, window, ids); });
    const double elapsed = world.max(now_s() - started);
    last_loss = result.loss.total;
    if (step == 0) first_loss = last_loss;
    if (step > 0) seconds.push_back(elapsed);
    if (step < 2) memory = bench::peak_memory();  // before the buffers of the bound
    if (step == 0 || world.size() > 1 || !arguments->wants_bound) continue;
    if (!bound) {
      const Index head_rows =
          std::max<Index>(1, distill::DistillationLoss::logits_at_once / student.config().vocab_size);
      bound = std::make_unique<TrainingBound>(
          student, teacher, parameters,
          TrainingBound::Options{options.precision, options.micro_batch, options.window, head_rows,
                                 options.recompute == model::Recompute::blocks});
      bound->products(trainer.spare_elements());
    }
    bounds.measure(*bound, options.num_micro_batches, trainer.spare_elements());
  }
  memory = {world.max(memory.mib), world.max(memory.without_files_mib)};
  if (!world.is_root()) return 0;
  const auto tokens = static_cast<double>(options.tokens_per_step());
  const double speed = seconds.empty() ? 0.0 : tokens / median(seconds);
  std::printf("seconds_per_step %.4f\ntokens_per_second %.1f\n", median(seconds), speed);
  std::printf("first_loss %.7f\nlast_loss %.7f\n", first_loss, last_loss);
  std::printf("peak_mib %.1f\npeak_without_files_mib %.1f\n", memory.mib, memory.without_files_mib);
  if (!bounds.step_s.empty()) bounds.print(tokens, speed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return kronlab::comm::run(argc, argv,
                            [&](const kronlab::comm::Communicator& world) { return run_benchmark(argc, argv, world); });
}
