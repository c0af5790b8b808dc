#include "decompositions/registry.hpp"

#include "decompositions/embedding_decomposer.hpp"
#include "decompositions/interpolative_decomposer.hpp"
#include "decompositions/monarch_decomposer.hpp"
#include "decompositions/mpo_decomposer.hpp"
#include "decompositions/pruning_decomposers.hpp"
#include "decompositions/quantised_decomposer.hpp"
#include "decompositions/rounding_decomposers.hpp"
#include "decompositions/sum_decomposer.hpp"
#include "framework/config/registry.hpp"

namespace kronlab::decompositions {
namespace {

using config::StrictTable;

/// Errors of an options struct, with the place of its table.
template <class Make>
auto at_place(const StrictTable& table, const Make& make) {
  try {
    return make();
  } catch (const ConfigError& error) {
    table.fail("kind", error.what());
  }
}

Weighting weighting_from(const StrictTable& t) {
  const auto weighting = t.choice("weighting", {"none", "inputs", "two-sided"}, "none");
  return weighting == "inputs"      ? Weighting::inputs
         : weighting == "two-sided" ? Weighting::two_sided
                                    : Weighting::none;
}

std::unique_ptr<Decomposer> kronecker(const StrictTable& t) {
  KroneckerOptions options;
  for (const auto& [name, member] : {std::pair{"left_rows", &options.left_rows},
                                     {"left_cols", &options.left_cols},
                                     {"right_rows", &options.right_rows},
                                     {"right_cols", &options.right_cols}}) {
    *member = t.find_integer(name, config::count_from(1)).value_or(0);
  }
  options.num_terms = t.integer("num_terms", 1, config::count_from(1));
  options.weighting = weighting_from(t);
  options.refit = t.integer("refit", options.refit, config::count_from(0));
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  options.gradient_damping = t.number("gradient_damping", options.gradient_damping, {.least = 0.0});
  if (t.choice("gradient_moments", {"full", "diagonal"}, "diagonal") == "full") options.gradient_moments = GradientMoments::full;
  if (t.choice("start", {"van-loan", "pruning"}, "van-loan") == "pruning") options.start = KroneckerOptions::Start::pruning;
  options.keeps_norm = t.choice("scale", {"none", "norm"}, "none") == "norm";
  return at_place(t, [&] { return make_kronecker_decomposer(options); });
}

std::unique_ptr<Decomposer> monarch(const StrictTable& t) {
  MonarchOptions options;
  options.left_blocks = t.find_integer("left_blocks", config::count_from(1));
  options.right_blocks = t.find_integer("right_blocks", config::count_from(1));
  options.num_terms = t.find_integer("num_terms", config::count_from(1));
  options.keep = t.find_number("keep");
  if (t.choice("weighting", {"none", "inputs"}, "none") == "inputs") options.weighting = Weighting::inputs;
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  return at_place(t, [&] { return make_monarch_decomposer(options); });
}

std::unique_ptr<Decomposer> mpo(const StrictTable& t) {
  MpoOptions options;
  if (t.has("row_factors")) options.row_factors = t.integers("row_factors");
  if (t.has("col_factors")) options.col_factors = t.integers("col_factors");
  options.num_sites = t.find_integer("num_sites", config::count_from(2));
  options.bond_dimension = t.find_integer("bond_dimension", config::count_from(1));
  options.keep = t.find_number("keep");
  options.truncation_error = t.find_number("truncation_error");
  options.weighting = weighting_from(t);
  if (t.choice("whitening", {"diagonal", "separable"}, "diagonal") == "separable") options.whitening = Whitening::separable;
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  options.gradient_damping = t.number("gradient_damping", options.gradient_damping, {.least = 0.0});
  return at_place(t, [&] { return make_mpo_decomposer(options); });
}

std::unique_ptr<Decomposer> tensor_train_embedding(const StrictTable& t) {
  TensorTrainEmbeddingOptions options;
  if (t.choice("form", {"table", "token"}, "table") == "token") options.form = TensorTrainEmbeddingOptions::Form::token;
  if (t.has("row_factors")) options.row_factors = t.integers("row_factors");
  if (t.has("col_factors")) options.col_factors = t.integers("col_factors");
  options.num_sites = t.find_integer("num_sites", config::count_from(2));
  options.size = {t.find_integer("bond_dimension", config::count_from(1)), t.find_number("keep"), t.find_number("truncation_error")};
  return at_place(t, [&] { return make_tensor_train_embedding_decomposer(options); });
}

SvdOptions svd_size(const StrictTable& t) {
  return {.truncation = t.find_integer("truncation", config::count_from(1)), .keep = t.find_number("keep")};
}

std::unique_ptr<Decomposer> svd(const StrictTable& t) {
  const SvdOptions options = svd_size(t);
  return at_place(t, [&] { return make_svd_decomposer(options); });
}

std::unique_ptr<Decomposer> whitened_svd(const StrictTable& t) {
  WhitenedSvdOptions options{.size = svd_size(t)};
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  if (t.choice("weighting", {"inputs", "two-sided"}, "inputs") == "two-sided") {
    options.weighting = Weighting::two_sided;
    options.gradient_damping = t.number("gradient_damping", options.gradient_damping, {.least = 0.0});
    if (t.choice("gradient_moments", {"full", "diagonal"}, "full") == "diagonal")
      options.gradient_moments = GradientMoments::diagonal;
  }
  return at_place(t, [&] { return make_whitened_svd_decomposer(options); });
}

std::unique_ptr<Decomposer> interpolative(const StrictTable& t) {
  InterpolativeOptions options{.size = svd_size(t)};
  if (t.choice("skeleton", {"columns", "rows"}, "columns") == "rows") {
    options.skeleton = InterpolativeOptions::Skeleton::rows;
  }
  if (t.choice("weighting", {"none", "inputs"}, "none") == "inputs") options.weighting = Weighting::inputs;
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  return at_place(t, [&] { return make_interpolative_decomposer(options); });
}

std::unique_ptr<Decomposer> quantised(const StrictTable& t) {
  QuantisedOptions options;
  options.grid.bits = t.integer("bits", options.grid.bits, config::count_from(1));
  options.grid.group = t.integer("group", options.grid.group, config::count_from(0));
  options.grid.symmetric = t.flag("symmetric", false);
  options.inner = decomposer_from(t.table("inner"));
  return at_place(t, [&] { return make_quantised_decomposer(std::move(options)); });
}

PruningAmount pruning_amount(const StrictTable& t) {
  PruningAmount amount;
  amount.sparsity = t.find_number("sparsity");
  amount.pattern.n = t.find_integer("n", config::count_from(1)).value_or(0);
  amount.pattern.m = t.find_integer("m", config::count_from(1)).value_or(0);
  return amount;
}

std::unique_ptr<Decomposer> pruning(const StrictTable& t, const char* kind, const char* scores, MaskSource source) {
  PruningOptions options{.amount = pruning_amount(t)};
  options.mask = t.choice("mask", {scores, "zeros"}, scores) == "zeros" ? MaskSource::zeros : source;
  options.scope = t.choice("scope", {"row", "layer"}, "row") == "layer" ? PruningScope::layer : PruningScope::row;
  return at_place(t, [&] { return make_pruning_decomposer(kind, options); });
}

std::optional<QuantisationGrid> find_grid(const StrictTable& t) {
  const auto bits = t.find_integer("bits");
  if (!bits) return std::nullopt;
  QuantisationGrid grid{.bits = *bits};
  grid.group = t.integer("group", grid.group, config::count_from(0));
  grid.symmetric = t.flag("symmetric", grid.symmetric);
  return grid;
}

QuantisationGrid grid_from(const StrictTable& t) {
  const auto grid = find_grid(t);
  return grid ? *grid : QuantisationGrid{.bits = t.integer("bits")};  // which is missing
}

std::unique_ptr<Decomposer> sparsegpt(const StrictTable& t) {
  SparseGptOptions options{.amount = pruning_amount(t)};
  const auto mask = t.choice("mask", {"sweep", "magnitude", "wanda", "zeros"}, "sweep");
  options.mask = mask == "magnitude" ? MaskSource::magnitude : mask == "wanda" ? MaskSource::inputs : mask == "zeros" ? MaskSource::zeros : MaskSource::sweep;
  options.block = t.integer("block", options.block, config::count_from(1));
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  options.grid = find_grid(t);
  return at_place(t, [&] { return make_sparsegpt_decomposer(options); });
}

std::unique_ptr<Decomposer> gptq(const StrictTable& t) {
  GptqOptions options{.grid = grid_from(t)};
  options.damping = t.number("damping", options.damping, {.least = 0.0});
  options.activation_order = t.flag("activation_order", options.activation_order);
  return at_place(t, [&] { return make_gptq_decomposer(options); });
}

std::unique_ptr<Decomposer> rtn(const StrictTable& t) {
  const auto grid = grid_from(t);
  return at_place(t, [&] { return make_rtn_decomposer(grid); });
}

std::unique_ptr<Decomposer> sum(const StrictTable& t) {
  SumOptions options;
  options.rounds = t.integer("rounds", options.rounds, config::count_from(1));
  for (const auto& table : t.tables("parts")) {
    SumPart part{decomposer_from(table), {}};
    if (const auto permute = table.find_table("permute")) part.search = search_from(*permute);
    if (part.search && part.search->absorbs) t.fail("parts", "a part of a sum cannot absorb its permutation: the other parts have the weight's own order");
    options.parts.push_back(std::move(part));
  }
  return at_place(t, [&] { return make_sum_decomposer(std::move(options)); });
}

const config::Registry<Decomposer>& decomposers() {
  static const config::Registry<Decomposer> registry{
      {"gptq", gptq},
      {"interpolative", interpolative},
      {"kronecker", kronecker},
      {"magnitude", [](const StrictTable& t) { return pruning(t, "magnitude", "magnitude", MaskSource::magnitude); }},
      {"monarch", monarch},
      {"mpo", mpo},
      {"quantised", quantised},
      {"rtn", rtn},
      {"sparsegpt", sparsegpt},
      {"sum", sum},
      {"svd", svd},
      {"tensor-train-embedding", tensor_train_embedding},
      {"wanda", [](const StrictTable& t) { return pruning(t, "wanda", "wanda", MaskSource::inputs); }},
      {"whitened-svd", whitened_svd},
  };
  return registry;
}

AnnealOptions anneal_options(const StrictTable& t) {
  AnnealOptions options;
  options.num_temperatures = t.integer("num_temperatures", options.num_temperatures, config::count_from(1));
  options.num_sweeps = t.integer("num_sweeps", options.num_sweeps, config::count_from(1));
  options.num_starts = t.integer("num_starts", options.num_starts, config::count_from(1));
  options.first_acceptance = t.number("first_acceptance", options.first_acceptance, {.least = 0.0});
  options.last_acceptance = t.number("last_acceptance", options.last_acceptance, {.least = 0.0});
  return options;
}

std::unique_ptr<PermutationSearch> alternating(const StrictTable& t) {
  AlternatingOptions options;
  options.num_rounds = t.integer("num_rounds", options.num_rounds, config::count_from(1));
  if (t.choice("step", {"annealing", "random"}, "annealing") == "random") {
    options.step = AlternatingOptions::Step::random;
    options.num_samples = t.integer("num_samples", options.num_samples, config::count_from(1));
  } else {
    options.proposals_per_element = t.integer("proposals_per_element", options.proposals_per_element, config::count_from(1));
  }
  return at_place(t, [&] { return make_alternating_search(options); });
}

std::unique_ptr<PermutationSearch> matching(const StrictTable& t) {
  MatchingOptions options;
  options.gap = t.number("gap", options.gap, {.least = 0.0});
  return at_place(t, [&] { return make_matching_search(options); });
}

const config::Registry<PermutationSearch>& searches() {
  static const config::Registry<PermutationSearch> registry{
      {"alternating", alternating},
      {"anneal", [](const StrictTable& t) { return at_place(t, [&] { return make_anneal_search(anneal_options(t)); }); }},
      {"coordinate-assignment", [](const StrictTable&) { return make_coordinate_assignment_search(); }},
      {"identity", [](const StrictTable&) { return make_identity_search(); }},
      {"matching", matching},
      {"norm-sort", [](const StrictTable&) { return make_norm_sort_search(); }},
      {"portfolio", [](const StrictTable& t) { return at_place(t, [&] { return make_portfolio_search(anneal_options(t)); }); }},
      {"random", [](const StrictTable& t) { return make_random_search(t.integer("num_samples", 10, config::count_from(1))); }},
      {"swap-descent", [](const StrictTable&) { return make_swap_descent_search(); }},
  };
  return registry;
}

}  // namespace

std::unique_ptr<Decomposer> decomposer_from(const StrictTable& table) { return decomposers().make(table); }

ConfiguredSearch search_from(const StrictTable& table) {
  ConfiguredSearch result;
  result.search = searches().make(table);
  result.weighting = weighting_from(table);
  result.damping.inputs = table.number("damping", result.damping.inputs, {.least = 0.0});
  result.damping.gradient = table.number("gradient_damping", result.damping.gradient, {.least = 0.0});
  result.absorbs = table.flag("absorb", false);
  result.budget.max_evaluations = table.integer("max_evaluations", result.budget.max_evaluations, {.least = 1, .most = Index{1} << 53});
  result.budget.time_limit_s = table.number("time_limit_s", 0.0, {.least = 0.0});
  return result;
}

}  // namespace kronlab::decompositions
