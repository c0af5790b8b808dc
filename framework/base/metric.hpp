#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace kronlab {

/// One measured number. Names are `family/quantity` (`eval/perplexity`); a unit is never empty ("1" for a pure number).
struct Metric {
  std::string name;
  double value = 0.0;
  std::string unit = "1";
  std::int64_t stage = -1;  ///< compression stage; -1: the dense model, before any stage
  std::int64_t step = 0;    ///< optimizer step within the stage
  std::string layer;        ///< empty where the number is of the whole model
  std::string dataset;      ///< empty where no data set was read
  std::string protocol;     ///< empty where no protocol applies
  std::optional<double> standard_error;
};

/// Where algorithms report their numbers; they do not know who keeps them.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void record(const Metric& metric) = 0;
};

/// Keeps nothing.
class NullSink final : public MetricSink {
 public:
  void record(const Metric&) override {}
};

}  // namespace kronlab
