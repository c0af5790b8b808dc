#include "experiments/pipeline/measure_rates.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>
#include <vector>

#include "decompositions/registry.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/pending_messages.hpp"
#include "framework/kernels/attention.hpp"
#include "framework/kernels/distillation.hpp"
#include "framework/kernels/elementwise.hpp"
#include "framework/kernels/loss.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/storage/safetensors.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;
using linalg::Transpose;

Tensor filled(DType type, Index rows, Index cols, std::uint64_t seed = 1) {
  Tensor values = Tensor::uninitialised(DType::f32, {rows, cols});
  RandomStream random(seed);
  for (float& value : values.values<float>()) value = static_cast<float>(random.uniform() - 0.5);
  if (type == DType::f32) return values;
  Tensor result = Tensor::uninitialised(type, {rows, cols});
  convert(std::as_const(values).view(), result.view());
  return result;
}

/// Files that are gone with this.
class ScratchFile {
 public:
  explicit ScratchFile(fs::path path) : path_(std::move(path)) {}
  ~ScratchFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

/// Seconds of a rank's work: of its processor where it has one thread, so that other programs of the machine count less.
double work_s(int threads) {
  if (threads > 1) return now_s();
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class Measurement {
 public:
  Measurement(const comm::Communicator& communicator, const std::string& folder, int threads)
      : communicator_(communicator), folder_(folder), threads_(threads) {}

  MachineRates all() {
    comm::coordinate(communicator_, [&] {
      if (!fs::is_directory(folder_)) throw StorageError(fmt::format("'{}' is no folder", folder_));
    });
    MachineRates rates;
    rates.threads = threads_;
    products(rates);
    activations(rates);
    memory(rates);
    methods(rates);
    files(rates);
    if (communicator_.size() > 1) network(rates);
    rates.origin = "measured now";
    return rates;
  }

 private:
  /// `amount` (in 1e9) of each call, per second and core: the median of repeats, the mean over ranks.
  double rate(double amount, const std::function<void()>& work) const {
    return per_second(amount, work, [this] { return work_s(threads_); }) / threads_;
  }

  double per_second(double amount, const std::function<void()>& work, const std::function<double()>& clock = now_s) const {
    constexpr double least_s = 0.25;
    constexpr std::size_t least_repeats = 3;
    double own = 0;
    communicator_.barrier();
    comm::coordinate(communicator_, [&] {
      work();  // touches memory, makes primitives
      std::vector<double> seconds;
      for (double total = 0; total < least_s || seconds.size() < least_repeats; total += seconds.back()) {
        const double started = clock();
        work();
        seconds.push_back(std::max(clock() - started, 1e-9));
      }
      std::ranges::nth_element(seconds, seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2));
      own = amount / seconds[seconds.size() / 2];
    });
    communicator_.sum(std::span<double>(&own, 1));
    return own / communicator_.size();
  }

  double product(DType type, Index extent) const {
    constexpr Index tokens = 1024;
    const Tensor x = filled(type, tokens, extent), w = filled(type, extent, extent);
    Tensor y = Tensor::uninitialised(type, {tokens, extent});
    return rate(2e-9 * static_cast<double>(tokens * extent * extent),
                [&] { linalg::gemm(Transpose::no, x.view(), Transpose::yes, w.view(), 0.0, y.view()); });
  }

  void products(MachineRates& rates) const {
    constexpr Index wide = 2048, narrow = static_cast<Index>(MachineRates::narrow);
    rates.gemm_fp32_gflops = product(DType::f32, wide), rates.gemm_fp32_narrow_gflops = product(DType::f32, narrow);
    rates.gemm_bf16_gflops = product(DType::bf16, wide), rates.gemm_bf16_narrow_gflops = product(DType::bf16, narrow);
    const Tensor x = filled(DType::f32, 1024, 1024);
    Matrix<double> g(1024, 1024);
    rates.gemm_fp64_gflops = rate(gram_gflop(1024, 1024), [&] { linalg::gram(x.view(), g.view()); });
  }

  void activations(MachineRates& rates) const {
    const kernels::AttentionShape shape{1, 1024, 8, 8, 64};
    const Tensor q = filled(DType::f32, 1024, 512), k = filled(DType::f32, 1024, 512, 2), v = filled(DType::f32, 1024, 512, 3);
    Tensor out = Tensor::uninitialised(DType::f32, {1024, 512});
    rates.attention_gflops = rate(4e-9 * 1025.0 / 2 * 1024 * 512, [&] { kernels::causal_attention(shape, q.view(), k.view(), v.view(), out.view()); });
    const Tensor up = filled(DType::f32, 1024, 2048), gate = filled(DType::f32, 1024, 2048, 2), gain = filled(DType::f32, 1, 2048);
    Tensor hidden = Tensor::uninitialised(DType::f32, {1024, 2048});
    rates.elementwise_gb_s = rate(1e-9 * 5 * 4 * 1024 * 2048, [&] {
      kernels::silu_times(up.view(), gate.view(), hidden.view());
      kernels::rms_norm(up.view(), gain.view(), 1e-5, hidden.view());
    });
    std::vector<std::int32_t> targets(256, 7);
    const Tensor logits = filled(DType::f32, 256, 8192), reference = filled(DType::f32, 256, 8192, 2);
    rates.likelihood_glogits_s = rate(1e-9 * 256 * 8192, [&] { kernels::StreamingLogLikelihood(targets).add_slice(logits.view(), 0); });
    Tensor student = logits.clone();
    rates.loss_glogits_s = rate(1e-9 * 256 * 8192, [&] { kernels::vocabulary_losses({0.5, 1.0, 0, 0}, 1.0, student.view(), reference.view(), targets); });
  }

  void memory(MachineRates& rates) const {
    constexpr Index size = 8 << 20;
    Tensor a = filled(DType::f32, 1, size);
    const Tensor b = filled(DType::f32, 1, size, 2);
    float* to = a.values<float>().data();
    const float* from = b.values<float>().data();
    rates.memory_gb_s = rate(12e-9 * size, [&] {
#pragma omp parallel for simd schedule(static)
      for (Index i = 0; i < size; ++i) to[i] += 1e-3f * from[i];
    });
  }

  /// Each kind on a weight whose cost is known, divided by the time that it takes.
  void methods(MachineRates& rates) const {
    constexpr Index rows = 1536, cols = 576;
    const Tensor weight = filled(DType::f32, rows, cols);
    decompositions::LayerStatistics statistics;
    statistics.num_tokens = 1024;
    statistics.input_moments = Matrix<double>(cols, cols);
    linalg::gram(filled(DType::f32, 1024, cols, 2).view(), statistics.input_moments.view());
    const auto table = [](const std::string& text) { return config::StrictTable(config::parse_toml(text, "profile")); };
    const auto decompose = [&](const std::string& text) {
      const auto decomposer = decompositions::decomposer_from(table(text));
      rates.decompose_gmacs[std::string(decomposer->kind())] =
          rate(1e-9 * decomposer->cost(rows, cols), [&] { decomposer->decompose("w", weight.view(), statistics); });
    };
    decompose("kind = \"svd\"\nkeep = 0.5");
    decompose("kind = \"whitened-svd\"\nkeep = 0.5");
    decompose("kind = \"kronecker\"\nright_rows = 2\nright_cols = 4\nnum_terms = 4");
    rates.other_decompose_gmacs = rates.decompose("svd");
    const auto kronecker = decompositions::decomposer_from(table("kind = \"kronecker\"\nright_rows = 2\nright_cols = 4\nnum_terms = 4"));
    constexpr Index least = 384, side = 384;
    const Tensor small = filled(DType::f32, side, least, 3);
    for (const char* kind : {"swap-descent", "coordinate-assignment", "anneal", "portfolio"}) {
      const auto search = decompositions::search_from(table(fmt::format("kind = \"{}\"", kind)));
      rates.search_gmacs[kind] = once(1e-9 * search.cost(side, least), [&] { search.find(*kronecker, "w", small.view(), statistics, RandomStream(1)); });
    }
    rates.other_search_gmacs = rates.search("portfolio");
  }

  /// As `rate`, but one call: for what takes a good part of a second.
  double once(double amount, const std::function<void()>& work) const {
    double own = 0;
    communicator_.barrier();
    comm::coordinate(communicator_, [&] {
      const double started = work_s(threads_);
      work();
      own = amount / std::max(work_s(threads_) - started, 1e-9);
    });
    communicator_.sum(std::span<double>(&own, 1));
    return own / communicator_.size() / threads_;
  }

  void files(MachineRates& rates) const {
    constexpr Index rows = 4096, cols = 4096;
    const ScratchFile file(fs::path(folder_) / fmt::format("kronlab-profile-{}-{}.safetensors", ::getpid(), communicator_.rank()));
    const Tensor weight = filled(DType::bf16, rows, cols);
    comm::coordinate(communicator_, [&] {
      std::vector<storage::NamedTensor> tensors = {{"w", {rows, cols}, weight.view()}};
      storage::write_safetensors(file.path(), tensors);
    });
    rates.load_gb_s = rate(4e-9 * rows * cols, [&] { storage::SafetensorsFile(file.path()).load("w"); });
    const auto size = static_cast<double>(fs::file_size(file.path()));
    rates.hash_gb_s = per_second(1e-9 * size, [&] { sha256_of_file(file.path()); });
    rates.disk_gb_s = per_second(1e-9 * size, [&] { read_from_disk(file.path()); });
  }

  /// With what the system holds of the file given up first.
  static void read_from_disk(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw StorageError(fmt::format("cannot open '{}'", path));
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    std::vector<char> buffer(4 << 20);
    while (::read(file, buffer.data(), buffer.size()) > 0) {
    }
    ::close(file);
  }

  /// Every rank sends to the next and receives from the one before, so that all of the network is in use.
  void network(MachineRates& rates) const {
    const int next = (communicator_.rank() + 1) % communicator_.size();
    const int previous = (communicator_.rank() + communicator_.size() - 1) % communicator_.size();
    const auto exchange_s = [&](std::size_t bytes, int repeats) {
      std::vector<std::byte> out(bytes), in(bytes);
      comm::PendingMessages messages(communicator_);
      std::vector<double> seconds;
      for (int i = 0; i <= repeats; ++i) {
        communicator_.barrier();
        const double started = now_s();
        messages.receive(in, previous, 1);
        messages.send(out, next, 1);
        messages.wait();
        if (i > 0) seconds.push_back(now_s() - started);
      }
      std::ranges::nth_element(seconds, seconds.begin() + repeats / 2);
      return communicator_.max(seconds[static_cast<std::size_t>(repeats / 2)]);
    };
    constexpr std::size_t large = 32 << 20;
    rates.network_latency_us = 1e6 * exchange_s(8, 201);
    rates.network_gb_s = 1e-9 * large / exchange_s(large, 7);
  }

  const comm::Communicator& communicator_;
  std::string folder_;
  int threads_;
};

}  // namespace

double gram_gflop(Index tokens, Index cols) {
  constexpr Index tile = 192;  // whole tiles on the diagonal
  return 1e-9 * static_cast<double>(tokens) * static_cast<double>(cols) * static_cast<double>(cols + std::min(cols, tile));
}

MachineRates measure_rates(const comm::Communicator& communicator, const std::string& folder, int threads) {
  return Measurement(communicator, folder, threads).all();
}

}  // namespace kronlab::experiments
