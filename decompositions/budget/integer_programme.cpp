#include "decompositions/budget/integer_programme.hpp"

#include <coin/Cbc_C_Interface.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "framework/base/error.hpp"
#include "framework/base/types.hpp"

namespace kronlab::decompositions {
namespace {

/// The sum that a row may reach: the solver's tolerance is absolute, 1e-7.
constexpr double row_limit = 1e3;

/// Columns of a matrix as Cbc takes them.
struct SparseColumns {
  std::vector<int> starts{0}, rows;
  std::vector<double> values, costs;

  explicit SparseColumns(const ChoiceProgramme& programme) {
    const auto num_groups = programme.groups.size();
    for (std::size_t g = 0; g < num_groups; ++g) {
      for (const auto& column : programme.groups[g]) {
        add(g, 1.0);
        for (std::size_t r = 0; r < column.shares.size(); ++r) add(num_groups + r, row_limit * column.shares[r]);
        starts.push_back(checked_cast<int>(static_cast<Index>(rows.size())));
        costs.push_back(column.cost);
      }
    }
  }
  void add(std::size_t row, double value) {
    rows.push_back(checked_cast<int>(static_cast<Index>(row)));
    values.push_back(value);
  }
};

using Model = std::unique_ptr<Cbc_Model, decltype(&Cbc_deleteModel)>;

Model load(const ChoiceProgramme& programme) {
  const SparseColumns columns(programme);
  const auto num_groups = programme.groups.size(), num_columns = columns.costs.size();
  const std::vector<double> lower(num_columns, 0.0), upper(num_columns, 1.0);
  std::vector<double> row_lower(num_groups, 1.0), row_upper(num_groups, 1.0);
  row_lower.resize(num_groups + programme.num_rows, -std::numeric_limits<double>::infinity());
  row_upper.resize(num_groups + programme.num_rows, row_limit);
  Model model(Cbc_newModel(), &Cbc_deleteModel);
  Cbc_loadProblem(model.get(), static_cast<int>(num_columns), static_cast<int>(row_upper.size()), columns.starts.data(),
                  columns.rows.data(), columns.values.data(), lower.data(), upper.data(), columns.costs.data(),
                  row_lower.data(), row_upper.data());
  for (std::size_t c = 0; c < num_columns; ++c) Cbc_setInteger(model.get(), static_cast<int>(c));
  return model;
}

/// In each group the column whose value is nearest to 1.
std::vector<std::size_t> taken_columns(const ChoiceProgramme& programme, const double* values) {
  std::vector<std::size_t> taken;
  for (const auto& group : programme.groups) {
    taken.push_back(static_cast<std::size_t>(std::max_element(values, values + group.size()) - values));
    values += group.size();
  }
  return taken;
}

}  // namespace

ChoiceProgrammeResult solve(const ChoiceProgramme& programme, double gap, double time_limit_s) {
  for (const auto& group : programme.groups) {
    KRONLAB_EXPECTS(!group.empty(), "budget: a group without a column");
    for (const auto& column : group) {
      KRONLAB_EXPECTS(column.shares.size() == programme.num_rows, "budget: a column with {} shares for {} rows",
                      column.shares.size(), programme.num_rows);
    }
  }
  const auto model = load(programme);
  Cbc_setParameter(model.get(), "log", "0");
  Cbc_setParameter(model.get(), "ratioGap", fmt::format("{:.17g}", gap).c_str());
  Cbc_setParameter(model.get(), "seconds", fmt::format("{:.17g}", time_limit_s).c_str());
  Cbc_solve(model.get());
  ChoiceProgrammeResult result;
  result.is_infeasible = Cbc_isProvenInfeasible(model.get()) != 0;
  if (result.is_infeasible) return result;
  result.lower_bound = Cbc_getBestPossibleObjValue(model.get());
  if (const double* values = Cbc_bestSolution(model.get())) result.columns = taken_columns(programme, values);
  return result;
}

}  // namespace kronlab::decompositions
