// The transcribed published numbers against the arithmetic that ties them together: a wrong digit breaks an equality.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <map>

#include "analysis/published.hpp"
#include "framework/base/error.hpp"
#include "framework/base/text_table.hpp"

using namespace kronlab;
using namespace kronlab::analysis;

namespace {

constexpr double vocabulary = 50257, positions = 1024, width = 768, inner = 4 * width, num_blocks = 12;
constexpr double tokens_of_a_sequence = 1024;  // of GPT-2

/// Which value: all of it as in published.toml, of the protocol a part.
struct Which {
  std::string method, setting, metric;
  std::string dataset = "", protocol = "", model = "GPT-2 small";
};

const PublishedValue& entry(const Which& which) {
  const PublishedValue* found = nullptr;
  for (const auto& value : published_values()) {
    if (value.method != which.method || value.setting != which.setting || value.metric != which.metric || value.dataset != which.dataset) continue;
    if (value.model != which.model || value.protocol.find(which.protocol) == std::string::npos) continue;
    BOOST_TEST_REQUIRE(!found, "two values of " << which.method << ", " << which.setting << ", " << which.metric);
    found = &value;
  }
  BOOST_TEST_REQUIRE(found, "no value of " << which.method << ", " << which.setting << ", " << which.metric);
  return *found;
}

double value(const Which& which) { return entry(which).value; }

/// A printed number as a count of units of its last digit, and an exact one rounded or cut to them.
double in_units(double printed, double unit) { return std::round(printed / unit); }
double rounded(double exact, double unit) { return std::round(exact / unit); }
double cut(double exact, double unit) { return std::floor(exact / unit); }

struct Product {
  double left_rows = 0, left_cols = 0, right_rows = 0, right_cols = 0, terms = 0;
  double left() const { return left_rows * left_cols; }
  double right() const { return right_rows * right_cols; }
  double parameters() const { return terms * (left() + right()); }
};

Product product(const std::string& method, const std::string& setting) {
  const auto of = [&](const char* metric) { return value({method, setting, metric}); };
  return {of("left_rows"), of("left_cols"), of("right_rows"), of("right_cols"), of("kronecker_terms")};
}

double dense(const std::string& part) { return value({"dense", part, "layer_parameters"}); }
double dense_total() { return value({"dense", "", "parameters"}); }

/// GPT-2 small with all 24 MLP matrices replaced by ones of so many parameters.
double with_mlp_matrices(double parameters) { return dense_total() + 2 * num_blocks * (parameters - width * inner); }

const std::string tq = "TQCompressedGPT-2", odd_blocks = " of blocks 1, 3, 5, 7, 9, 11", adaptive = "full training, adaptive normalisation";

}  // namespace

BOOST_AUTO_TEST_SUITE(published)

BOOST_AUTO_TEST_CASE(an_entry_without_source_or_of_unknown_certainty_or_twice_is_refused) {
  const std::string good = "[[value]]\nmethod = \"m\"\nmodel = \"n\"\nmetric = \"p\"\nvalue = 1\nunit = \"1\"\nprotocol = \"q\"\nsource = \"s\"\nplace = \"t\"\n";
  const auto message_of = [](const std::string& text) -> std::string {
    try {
      read_published(text, "f.toml");
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  const std::string verified = good + "certainty = \"verified\"\n";
  BOOST_TEST(message_of(verified) == "");
  BOOST_TEST(message_of(good + "certainty = \"sure\"\n").find("verified, quoted, computed, unverified") != std::string::npos, message_of(good + "certainty = \"sure\"\n"));
  BOOST_TEST(message_of(verified + verified).find("a second value of m, n") != std::string::npos);
  std::string without = verified;
  without.erase(without.find("source"), 13);
  BOOST_TEST(message_of(without).find("source") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_number_without_a_source_is_unverified_and_no_other_is) {
  for (const auto& value : published_values()) {
    BOOST_TEST((value.source == "not known") == (value.certainty == "unverified"), citation_of(value));
    BOOST_TEST(std::isfinite(value.value));
  }
}

BOOST_AUTO_TEST_CASE(gpt2_small_has_the_parameters_of_its_shapes) {
  BOOST_TEST(dense("wte") == vocabulary * width);
  BOOST_TEST(dense("wpe") == positions * width);
  BOOST_TEST(dense("c_fc") == width * inner);
  BOOST_TEST(dense("c_proj") == width * inner);
  BOOST_TEST(dense("attention") == 4 * width * width + 4 * width);
  BOOST_TEST(dense("MLP") == 2 * width * inner + inner + width);
  BOOST_TEST(dense("layer norms of a block") == 4 * width);
  BOOST_TEST(dense("block") == dense("attention") + dense("MLP") + dense("layer norms of a block"));
  BOOST_TEST(dense("ln_f") == 2 * width);
  BOOST_TEST(dense_total() == dense("wte") + dense("wpe") + num_blocks * dense("block") + dense("ln_f"));
  for (const char* name : {"c_fc", "c_proj"}) BOOST_TEST(value({"dense", name, "multiply_adds_per_token"}) == width * inner);
  BOOST_TEST(in_units(value({"dense", "", "parameters_reported"}), 1e6) == rounded(dense_total(), 1e6));
  BOOST_TEST(in_units(value({"dense", "", "embedding_share"}), 0.01) == rounded(100 * dense("wte") / dense_total(), 0.01));
}

BOOST_AUTO_TEST_CASE(distilgpt2_is_gpt2_small_with_half_of_its_blocks) {
  const auto of = [](const char* metric) { return value({"DistilGPT-2", "", metric}); };
  BOOST_TEST(2 * of("layers") == num_blocks);
  BOOST_TEST(of("width") == width);
  BOOST_TEST(of("width") / of("heads") == 64);
  BOOST_TEST(of("parameters") == dense_total() - of("layers") * dense("block"));
  BOOST_TEST(in_units(of("parameters_reported"), 1e6) == rounded(of("parameters"), 1e6));
  BOOST_TEST(24 * 7 * of("training_weeks") > value({"DistilGPT-2", "", "training_hours", "OpenWebText"}));
}

BOOST_AUTO_TEST_CASE(tqcompressor_has_the_parameters_of_its_factors) {
  const Product fc = product(tq, "c_fc" + odd_blocks), proj = product(tq, "c_proj" + odd_blocks);
  const Product first = product(tq, "wte after step 0"), second = product(tq, "wte after step 2");
  for (const auto& [part, rows, cols] : {std::tuple(fc, width, inner), std::tuple(proj, inner, width), std::tuple(first, vocabulary, width)}) {
    BOOST_TEST(part.left_rows * part.right_rows == rows);
    BOOST_TEST(part.left_cols * part.right_cols == cols);
  }
  BOOST_TEST(second.left_rows * second.right_rows == first.left_rows);  // the second product stands for the first's left factor
  BOOST_TEST(second.left_cols * second.right_cols == first.left_cols);

  const auto printed = [](const std::string& setting) { return value({tq, setting, "layer_parameters"}); };
  BOOST_TEST(printed("c_fc" + odd_blocks) == fc.parameters());
  BOOST_TEST(printed("c_proj" + odd_blocks) == proj.parameters());
  BOOST_TEST(printed("wte after step 0") == first.parameters());
  BOOST_TEST(printed("wte after step 2") == second.parameters() + first.right());
  BOOST_TEST(printed("output head") == dense("wte"));

  const auto step = [](const std::string& setting) { return value({tq, setting, "compression_step"}); };
  BOOST_TEST(step("wte after step 0") == 0);
  BOOST_TEST(step("c_fc" + odd_blocks) == 1);
  BOOST_TEST(step("c_proj" + odd_blocks) == 1);
  BOOST_TEST(step("wte after step 2") == 2);
  const auto searched = [](const std::string& setting) { return value({tq, setting, "search_iterations"}); };
  for (const std::string& layer : {std::string("wte after step 0"), "c_fc" + odd_blocks, "c_proj" + odd_blocks, std::string("wte after step 2")}) {
    BOOST_TEST(searched(layer) == value({tq, "permutation search", "argument_n_iter"}));
  }
}

BOOST_AUTO_TEST_CASE(tqcompressor_adds_up_step_by_step_to_81_million_and_with_its_head_to_119_9) {
  const auto after = [](const std::string& setting) { return value({tq, setting, "parameters_without_head"}); };
  const auto layer = [](const std::string& setting) { return value({tq, setting, "layer_parameters"}); };
  BOOST_TEST(after("after step 0") == dense_total() - dense("wte") + layer("wte after step 0"));
  const double mlp = dense("c_fc") - layer("c_fc" + odd_blocks) + dense("c_proj") - layer("c_proj" + odd_blocks);
  BOOST_TEST(after("after step 1") == after("after step 0") - 6 * mlp);
  BOOST_TEST(after("released checkpoint") == after("after step 1") - layer("wte after step 0") + layer("wte after step 2"));
  BOOST_TEST(value({tq, "released checkpoint", "parameters"}) == after("released checkpoint") + layer("output head"));
  const auto printed = [](const std::string& protocol) { return value({tq, "paper", "parameters_reported", "", protocol}); };
  BOOST_TEST(in_units(printed("head left out"), 1e6) == cut(after("released checkpoint"), 1e6));
  BOOST_TEST(in_units(printed("head included"), 1e6) == cut(value({tq, "released checkpoint", "parameters"}), 1e6));
}

BOOST_AUTO_TEST_CASE(tqcompressors_defaults_halve_a_matrix) {
  const Product attention = product(tq, "default, attention"), mlp = product(tq, "default, MLP");
  BOOST_TEST(attention.left_rows * attention.right_rows == width);
  BOOST_TEST(attention.left_cols * attention.right_cols == width);
  BOOST_TEST(mlp.left_rows * mlp.right_rows == width);
  BOOST_TEST(mlp.left_cols * mlp.right_cols == inner);
  const double factor = value({tq, "default, embedding", "compression_factor"});
  BOOST_TEST(rounded(width * width / attention.parameters(), 1) == factor);
  BOOST_TEST(rounded(width * inner / mlp.parameters(), 1) == factor);
  BOOST_TEST(mlp.parameters() == product(tq, "c_fc" + odd_blocks).parameters());
}

BOOST_AUTO_TEST_CASE(the_sequence_of_factors_decides_what_a_token_costs) {
  const auto printed = [](const std::string& setting) { return value({tq, setting, "multiply_adds_per_token"}); };
  const auto right_first = [](const Product& p) { return p.terms * p.left_rows * p.right() + p.terms * p.left() * p.right_cols; };
  const auto left_first = [](const Product& p) { return p.terms * p.left() * p.right_rows + p.terms * p.left_cols * p.right(); };
  const Product fc = product(tq, "c_fc" + odd_blocks), proj = product(tq, "c_proj" + odd_blocks);
  BOOST_TEST(printed("c_fc, right factor first") == right_first(fc));
  BOOST_TEST(printed("c_fc, left factor first") == left_first(fc));
  BOOST_TEST(printed("c_proj, right factor first") == right_first(proj));
}

BOOST_AUTO_TEST_CASE(kngpt2_has_83_million_parameters_with_the_attention_output_at_half_size) {
  const std::string layers = "query, key, value, c_fc, c_proj";
  const auto factor = [](const std::string& setting) { return value({"KnGPT-2", setting, "compression_factor"}); };
  const Product wte = product("KnGPT-2", "wte");
  BOOST_TEST(wte.left_rows * wte.right_rows == vocabulary);
  BOOST_TEST(wte.left_cols * wte.right_cols == width);
  BOOST_TEST(wte.right() == factor("wte"));
  // One term of the factor's size: a matrix of n entries becomes n / factor + factor.
  BOOST_TEST(value({"KnGPT-2", layers, "kronecker_terms"}) == 1);
  const auto saved = [&](double entries) { return entries - entries / factor(layers) - factor(layers); };
  const double attention_dense = dense_total() - dense("wte") + wte.parameters() - 6 * (3 * saved(width * width) + 2 * saved(width * inner));
  BOOST_TEST(value({"KnGPT-2", "attention output projection dense", "parameters_without_head"}) == attention_dense);
  const double halved = attention_dense - 6 * saved(width * width);
  BOOST_TEST(value({"KnGPT-2", "attention output projection halved", "parameters_without_head"}) == halved);
  BOOST_TEST(in_units(value({"KnGPT-2", "", "parameters_reported", "", "head left out"}), 1e6) == cut(halved, 1e6));
}

BOOST_AUTO_TEST_CASE(krony_pts_tables_of_sizes_follow_from_their_first_factors) {
  int num_of_table_1 = 0, num_of_table_2 = 0;
  for (const auto& printed : published_values()) {
    double rows = 0, cols = 0, terms = 0;
    if (printed.method != "KronyPT" || std::sscanf(printed.setting.c_str(), "first factor %lfx%lf, %lf term", &rows, &cols, &terms) != 3) continue;
    BOOST_TEST_CONTEXT(printed.setting << ", " << printed.metric) {
      BOOST_TEST(std::fmod(inner, rows) == 0);
      BOOST_TEST(std::fmod(width, cols) == 0);
      // Rows and columns of the whole matrix over those of the first factor: for 3072x768 a 1x1 factor, which the paper counts too.
      const double of_matrix = terms * (rows * cols + inner / rows * (width / cols));
      const bool is_rounded = printed.metric == "parameters_reported";
      const double of_model = with_mlp_matrices(of_matrix), unit = rows == 256 ? 1e5 : 1e6;  // 68.2, 74
      ++(is_rounded ? num_of_table_2 : num_of_table_1);
      if (is_rounded) {
        BOOST_TEST(in_units(printed.value, unit) == cut(of_model, unit));
      } else {
        BOOST_TEST(printed.value == (printed.metric == "parameters" ? of_model : of_matrix));
      }
    }
  }
  BOOST_TEST(num_of_table_1 == 2 * 22);
  BOOST_TEST(num_of_table_2 == 2 * 3);
}

BOOST_AUTO_TEST_CASE(krony_pts_models_have_the_parameters_of_their_shapes) {
  const Product of_81 = product("KronyPT-81M", "c_fc"), other = product("KronyPT-81M", "c_fc, other shape");
  const Product of_96 = product("KronyPT-96M", "c_fc"), proj = product("KronyPT-96M", "c_proj");
  const Product of_80 = product("KronyPT-80M-2", "c_fc"), of_92 = product("KronyPT-92M-4", "c_fc");
  for (const auto& [part, rows, cols] : {std::tuple(of_81, inner, width), std::tuple(other, inner, width), std::tuple(of_96, inner, width),
                                         std::tuple(proj, width, inner), std::tuple(of_80, inner, width), std::tuple(of_92, inner, width)}) {
    BOOST_TEST(part.left_rows * part.right_rows == rows);
    BOOST_TEST(part.left_cols * part.right_cols == cols);
  }
  BOOST_TEST(other.parameters() == of_81.parameters());
  BOOST_TEST(proj.parameters() == of_96.parameters());

  const auto exact = [](const std::string& method, const std::string& setting) { return value({method, setting, "parameters"}); };
  const auto millions = [](const std::string& method, const std::string& setting) {
    return in_units(value({method, setting, "parameters_reported", "", "head included"}), 1e6);
  };
  BOOST_TEST(exact("KronyPT-81M", "") == with_mlp_matrices(of_81.parameters()));
  BOOST_TEST(millions("KronyPT-81M", "") == rounded(exact("KronyPT-81M", ""), 1e6));
  BOOST_TEST(exact("KronyPT-80M-2", "") == with_mlp_matrices(of_80.parameters()));
  BOOST_TEST(millions("KronyPT-80M-2", "") == rounded(exact("KronyPT-80M-2", ""), 1e6));
  for (const auto& [method, setting] : {std::pair("KronyPT-96M-prune", ""), std::pair("KronyPT-96M-VL", "full training")}) {
    BOOST_TEST(exact(method, setting) == with_mlp_matrices(of_96.parameters()));
    BOOST_TEST(millions(method, setting) == rounded(exact(method, setting), 1e6));
  }
  for (const char* setting : {"after 1 epoch, Table VIII", "after 1 epoch, Table IX"}) {
    BOOST_TEST(millions("KronyPT-96M-VL", setting) == millions("KronyPT-96M-VL", "full training"));
  }
  const double parameters_92 = with_mlp_matrices(of_92.parameters());
  BOOST_TEST(exact("KronyPT-92M-4", adaptive) == parameters_92);
  for (const std::string& setting : {adaptive, std::string("after 1 epoch, adaptive normalisation"), std::string("after 0.3 epoch, adaptive normalisation")}) {
    BOOST_TEST(millions("KronyPT-92M-4", setting) == cut(parameters_92, 1e6));
  }
}

BOOST_AUTO_TEST_CASE(krony_pt_prints_a_number_of_parameters_that_its_shapes_do_not_have) {
  const auto& printed = entry({"KronyPT-92M-4", "4 terms of (1024x256) x (3x3)", "parameters_reported"});
  const double exact = value({"KronyPT-92M-4", adaptive, "parameters"});
  BOOST_TEST(in_units(printed.value, 1e5) != rounded(exact, 1e5));
  BOOST_TEST(in_units(printed.value, 1e5) != cut(exact, 1e5));
  BOOST_TEST(printed.note == "the shapes give " + format_count(exact));
  BOOST_TEST(entry({"KronyPT-92M-4", adaptive, "parameters"}).note == "the paper prints " + format_number(printed.value / 1e6, 3) + " M");
}

BOOST_AUTO_TEST_CASE(krony_pts_percentages_are_those_of_its_norms) {
  std::vector<double> kept_96, kept_92;
  for (const char* layer : {"1", "2", "11"}) {
    for (const char* part : {"p1", "p2"}) {
      const std::string place = std::string("layer ") + layer + ", " + part;
      const auto norm = [&](const std::string& method, const std::string& shape) { return value({method, shape + place, "frobenius_norm"}); };
      const double original = norm("dense", "");
      kept_96.push_back(100 * norm("Van Loan", "96M shape, ") / original);
      kept_92.push_back(100 * norm("Van Loan", "92M-4 shape, ") / original);
      const double printed = value({"Van Loan", "92M-4 shape, " + place, "frobenius_norm_kept"});
      const double expected = place == "layer 2, p2" ? cut(kept_92.back(), 0.1) : rounded(kept_92.back(), 0.1);  // the paper cuts one of six
      BOOST_TEST(in_units(printed, 0.1) == expected, place << ": " << printed << " printed, " << kept_92.back() << " by the norms");
    }
  }
  for (const auto& [shape, kept, right_entries] : {std::tuple(std::string("96M shape, "), kept_96, 2.0), std::tuple(std::string("92M-4 shape, "), kept_92, 9.0)}) {
    const auto summary = [&](const std::string& which) { return in_units(value({"Van Loan", shape + which, "frobenius_norm_kept"}), 0.1); };
    BOOST_TEST(summary("lowest") == rounded(std::ranges::min(kept), 0.1));
    BOOST_TEST(summary("highest") == rounded(std::ranges::max(kept), 0.1));
    const Product factors = product(right_entries == 2 ? "KronyPT-96M" : "KronyPT-92M-4", "c_fc");
    BOOST_TEST(factors.right() == right_entries);
    BOOST_TEST(summary("structureless matrix") == rounded(100 * std::sqrt(factors.terms / right_entries), 0.1));
  }
}

BOOST_AUTO_TEST_CASE(krony_pts_batches_have_the_tokens_of_their_sequences) {
  const auto of = [](const std::string& phase, const std::string& metric) { return value({"KronyPT", phase, metric}); };
  BOOST_TEST(of("first phase", "sequences_per_step") == of("first phase", "accumulation_steps") * of("first phase", "sequences_per_pass"));
  for (const char* phase : {"first phase", "second phase"}) {
    BOOST_TEST(in_units(of(phase, "tokens_per_step"), 1e3) == cut(tokens_of_a_sequence * of(phase, "sequences_per_step"), 1e3));
    BOOST_TEST(of(phase, "last_learning_rate") == of("second phase", "first_learning_rate"));
  }
  BOOST_TEST(of("first phase", "first_learning_rate") == 10 * of("first phase", "last_learning_rate"));
}

BOOST_AUTO_TEST_CASE(the_replication_of_krony_pt_has_the_parameters_of_64_by_64_factors) {
  const double exact = with_mlp_matrices(64 * 64 + (inner / 64) * (width / 64));
  BOOST_TEST(in_units(value({"Kronecker", "rank 1, all 12 layers, untrained", "parameters_reported"}), 1e5) == rounded(exact, 1e5));
}

BOOST_AUTO_TEST_CASE(compactifais_savings_are_not_those_of_its_names) {
  const std::string model = "LLaMA-2-7B", original = "CompactifAI paper, fp32";
  const auto of = [&](const std::string& method, const std::string& setting, const char* metric, const char* protocol = "") {
    return value({method, setting, metric, "", protocol, model});
  };
  const double memory = of("dense", original, "memory");
  const std::pair<std::string, std::string> models[] = {
      {"8-bit", "bitsandbytes, int8"}, {"4-bit", "bitsandbytes, int4"}, {"CompactifAI", "88 %"}, {"CompactifAI", "93 %"}};
  for (const auto& [method, setting] : models) {
    const double saved = of(method, setting, "memory_saved", "from the printed memory");
    BOOST_TEST(in_units(saved, 0.01) == rounded(100 * (1 - of(method, setting, "memory") / memory), 0.01), setting);
    if (method != "CompactifAI") {
      const double bits = of(method, setting, "bits") / of("dense", original, "bits");
      BOOST_TEST(in_units(of(method, setting, "memory"), 0.1) == rounded(bits * memory, 0.1), setting);
      BOOST_TEST(of(method, setting, "parameters_reported") == of("dense", original, "parameters_reported"), setting);
      continue;
    }
    const double named = of(method, setting, "memory_saved", "as the paper names");
    BOOST_TEST(std::stod(setting) == named);
    BOOST_TEST(rounded(saved, 1) < named);
  }
  BOOST_TEST(in_units(of("dense", original, "parameters_reported"), 1e9) == rounded(8 * memory / of("dense", original, "bits"), 1));
  const double billions = 8 * of("CompactifAI", "88 %", "memory") / of("CompactifAI", "88 %", "bits");
  BOOST_TEST(std::abs(of("CompactifAI", "88 %", "parameters_reported") / 1e9 - billions) < 0.051);  // 2.05 is printed as 2.1
  BOOST_TEST(of("CompactifAI", "93 %", "parameters_reported") == of("CompactifAI", "88 %", "parameters_reported"));
}

BOOST_AUTO_TEST_CASE(compactifai_loses_more_on_gsm8k_than_its_abstract_says) {
  const std::string model = "LLaMA-2-7B";
  const auto accuracy = [&](const std::string& method, const std::string& setting) { return value({method, setting, "accuracy", "GSM8K", "", model}); };
  const double original = accuracy("dense", "CompactifAI paper, fp32"), drop = original - accuracy("CompactifAI", "93 %");
  BOOST_TEST(in_units(value({"CompactifAI", "93 %", "accuracy_drop", "GSM8K", "", model}), 0.01) == rounded(drop, 0.01));
  BOOST_TEST(in_units(value({"CompactifAI", "93 %", "relative_accuracy_drop", "GSM8K", "", model}), 0.01) == rounded(100 * drop / original, 0.01));
  BOOST_TEST(drop > value({"CompactifAI", "high end", "accuracy_drop_claimed", "", "", model}));
}

BOOST_AUTO_TEST_CASE(papers_agree_on_the_dense_models_of_others) {
  std::map<std::string, std::vector<double>> of_model;
  for (const auto& value : published_values()) {
    const bool is_alike = value.protocol.find("windows of 2048 tokens") != std::string::npos || value.protocol.find("evaluation of PermLLM") != std::string::npos;
    if (value.method == "dense" && value.metric == "perplexity" && value.dataset == "WikiText-2" && is_alike && value.certainty != "unverified") {
      of_model[value.model].push_back(value.value);
    }
  }
  std::size_t num_shared = 0;
  for (const auto& [model, values] : of_model) {
    num_shared += values.size() > 1 ? 1 : 0;
    BOOST_TEST(std::ranges::max(values) - std::ranges::min(values) < 0.025, model);  // 27.64 to 27.66
  }
  BOOST_TEST(num_shared == 12u);
}

BOOST_AUTO_TEST_CASE(sparsegpts_seeds_contain_its_table) {
  const auto of = [](const std::string& setting, const std::string& metric) {
    return value({"SparseGPT", setting, metric, "WikiText-2", "raw test text", "OPT-2.7B"});
  };
  BOOST_TEST(std::abs(of("sparsity 50 %", "perplexity") - of("mean over seeds", "perplexity")) < of("mean over seeds", "perplexity_deviation"));
}

BOOST_AUTO_TEST_CASE(procrustesgpts_factors_save_a_quarter) {
  const auto of = [](const std::string& metric) { return value({"ProcrustesGPT, Kronecker", "", metric, "", "", "OPT, LLaMA-2"}); };
  // r terms of q x 1 and n/q x m: r (q + n m / q) entries of n m.
  BOOST_TEST(of("left_cols") == 1);
  BOOST_TEST(of("layer_parameters_saved") == 100 * (1 - of("kronecker_terms") / of("left_rows")));
}

BOOST_AUTO_TEST_SUITE_END()
