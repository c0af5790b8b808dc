#include "analysis/array_csv.hpp"

#include <sstream>
#include <vector>

#include "analysis/output_file.hpp"

namespace kronlab::analysis {
namespace {

/// "row, column" or "row column"; their own names where the attribute does not name every axis.
std::vector<std::string> axes_of(const storage::Attributes& attributes, std::size_t num_axes) {
  std::vector<std::string> axes;
  if (const auto found = attributes.find("axes"); found != attributes.end()) {
    std::string words = found->second;
    for (char& c : words) c = c == ',' ? ' ' : c;
    std::istringstream text(words);
    for (std::string axis; text >> axis;) axes.push_back(axis);
  }
  if (axes.size() == num_axes) return axes;
  axes.clear();
  for (std::size_t i = 0; i < num_axes; ++i) axes.push_back(fmt::format("axis{}", i));
  return axes;
}

/// `cell_of` gives the text of an element, row-major.
template <class Values, class CellOf>
void write_rows(OutputFile& file, const std::vector<Index>& shape, const Values& values, CellOf cell_of) {
  std::vector<Index> at(shape.size(), 0);
  for (const auto& value : values) {
    std::string line;
    for (const Index place : at) line += fmt::format("{},", place);
    file.write(line + cell_of(value) + "\n");
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++at[axis] < shape[axis]) break;
      at[axis] = 0;
    }
  }
}

}  // namespace

void write_array_csv(const storage::ArrayReader& arrays, const std::string& name, const std::filesystem::path& path) {
  const auto shape = arrays.shape(name);
  const auto attributes = arrays.attributes(name);
  const auto unit = attributes.find("unit");
  OutputFile file(path);
  for (const auto& axis : axes_of(attributes, shape.size())) file.print("{},", csv_cell(axis));
  file.print("{}\n", csv_cell(unit == attributes.end() ? "value" : fmt::format("value [{}]", unit->second)));
  const auto number = [](auto value) { return fmt::format("{}", value); };
  if (arrays.is_text(name)) {
    write_rows(file, shape, arrays.read_texts(name), csv_cell);
  } else if (arrays.is_integer(name)) {
    write_rows(file, shape, arrays.read_i64(name), number);
  } else {
    write_rows(file, shape, arrays.read_f64(name), number);
  }
  file.finish();
}

}  // namespace kronlab::analysis
