#pragma once

#include <string>
#include <vector>

#include "analysis/chosen_table.hpp"

namespace kronlab::analysis {

/// A picture inside a page.
struct Picture {
  std::string title;
  std::string svg;
};

/// One page that needs nothing beside it and no network: tables, pictures, and everything recorded of each run. Run folders
/// are linked relative to `page_folder`. Narrow screens scroll wide tables and nothing else.
std::string html_page(const std::string& title, const std::vector<ChosenTable>& tables, const std::vector<Picture>& pictures,
                      const std::string& page_folder);

}  // namespace kronlab::analysis
