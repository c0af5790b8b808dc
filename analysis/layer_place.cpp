#include "analysis/layer_place.hpp"

#include <algorithm>
#include <charconv>

namespace kronlab::analysis {

LayerPlace place_of_layer(const std::string& name) {
  for (std::size_t begin = 0; begin < name.size();) {
    const auto end = std::min(name.find('.', begin), name.size());
    Index block = 0;
    const auto [last, problem] = std::from_chars(name.data() + begin, name.data() + end, block);
    if (problem == std::errc() && last == name.data() + end) {
      if (end < name.size()) return {block, name.substr(end + 1)};
      if (const auto before = name.substr(0, begin); before == "layers." || before == "h.") return {block, "block"};
    }
    begin = end + 1;
  }
  return {-1, name};
}

}  // namespace kronlab::analysis
