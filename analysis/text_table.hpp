#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kronlab::analysis {

/// Rows of texts under a header.
struct TextTable {
  enum class Align { left, right };
  enum class Format { text, markdown, csv };

  struct Column {
    std::string header;
    Align align = Align::left;
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  ///< each as long as `columns`

  std::string print(Format format) const;
};

/// Characters that a terminal shows for UTF-8 text.
std::size_t display_width(std::string_view text);

/// "29.52", "0.001234", "1.2e+09", "nan": `digits` significant ones.
std::string format_number(double value, int digits = 5);
/// "124,439,808".
std::string format_count(double value);
/// "98.4 MB".
std::string format_bytes(double bytes);

}  // namespace kronlab::analysis
