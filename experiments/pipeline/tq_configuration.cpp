#include "experiments/pipeline/tq_configuration.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "framework/config/parse_yaml.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::experiments {
namespace {

using config::StrictTable;
using config::Value;

/// Which layer a key means.
struct Place {
  enum class Kind { embedding, attention, linear } kind;
  std::string before, block, after;  ///< together the name here; `block` is empty for the embedding
  Index depth = 0;                   ///< of an embedding: how many of its factors were decomposed before
};

/// A layer of the file: where, when and how.
struct Entry {
  Place place;
  Index step = 0;
  Index line = 0;
  std::string settings;  ///< `decompose` and `permute`
};

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_block(const std::string& text) {
  return !text.empty() && text.size() <= 6 && text.find_first_not_of("0123456789") == std::string::npos &&
         (text.size() == 1 || text[0] != '0');
}

Place place_of(const std::string& key, const config::Position& position) {
  using Kind = Place::Kind;
  const auto parts = split(key);
  if (parts.size() >= 2 && parts.size() <= 10 && parts[0] == "transformer" && parts[1] == "wte" &&
      std::all_of(parts.begin() + 2, parts.end(), [](const std::string& part) { return part == "embedding"; })) {
    Place place{Kind::embedding, "wte", "", "", static_cast<Index>(parts.size()) - 2};
    for (Index i = 0; i < place.depth; ++i) place.before += ".left";
    return place;
  }
  if (parts.size() >= 4 && parts[0] == "transformer" && parts[1] == "h" && is_block(parts[2])) {
    const std::string inner = key.substr(std::string("transformer.h..").size() + parts[2].size());
    if (inner == "attn") return {Kind::attention, "h.", parts[2], ".attn.c_attn[*]"};
    if (inner == "attn.c_proj" || inner == "mlp.c_fc" || inner == "mlp.c_proj")
      return {Kind::linear, "h.", parts[2], "." + inner};
  }
  const std::string shown = key.size() > 60 ? key.substr(0, 60) + "..." : key;
  throw ConfigError(
      fmt::format("{}: layers: '{}' is no layer that can be decomposed here; expected transformer.wte, "
                  "transformer.wte.embedding (its factor once more), "
                  "transformer.h.N.attn (query, key and value), transformer.h.N.attn.c_proj, transformer.h.N.mlp.c_fc "
                  "or transformer.h.N.mlp.c_proj",
                  position.text(), shown));
}

/// An axis of the weight: whether its elements may be ordered, and how many are in a group.
struct Axis {
  const char* key;
  bool is_permuted;
  Index group;
};

/// `permute`, or nothing where no axis is to be ordered. `step` is the search's move, where the file's source says
/// which.
std::string permutation(const StrictTable& table, const Axis& inputs, const Axis& outputs, const char* step) {
  const auto counts = [](const Axis& axis) { return axis.group > 1; };
  if (!(inputs.is_permuted && counts(inputs)) && !(outputs.is_permuted && counts(outputs))) return "";
  for (const Axis& axis : {inputs, outputs}) {
    if (counts(axis) && !axis.is_permuted)
      table.fail(axis.key,
                 "is false for one side of a weight that has groups on both sides; the searches here order both: "
                 "expected true, or false for both");
  }
  return fmt::format("permute = {{ kind = \"alternating\", num_rounds = {}{} }}\n",
                     table.integer("n_iter", 5, config::count_from(1)), step);
}

/// A key that must be there and true or false.
bool flag(const StrictTable& table, const std::string& key) {
  if (!table.has(key)) table.fail(key, "is missing");
  return table.flag(key, true);
}

std::string embedding_settings(const StrictTable& table) {
  const Index d = table.integer("d", config::count_from(1));
  table.flag("use_q", true);  // orders the vocabulary, which has no groups; TQCompressor does not read it either
  table.find_integer("n_iter", config::count_from(1));
  return fmt::format("decompose = {{ kind = \"kronecker\", right_rows = 1, right_cols = {}, num_terms = 1 }}\n", d) +
         permutation(table, {"use_p", flag(table, "use_p"), d}, {"use_q", true, 1}, "");
}

std::string matrix_settings(const StrictTable& table, Place::Kind kind) {
  const auto count = [&](const char* key) { return table.integer(key, config::count_from(1)); };
  const Index terms = count("r"), m1 = count("m1"), n1 = count("n1"), m2 = count("m2"), n2 = count("n2");
  table.find_integer("n_iter", config::count_from(1));
  const bool is_attention = kind == Place::Kind::attention;
  const bool orders_inputs = is_attention && !table.has("use_p") ? true : flag(table, "use_p");
  const bool orders_outputs = is_attention && !table.has("use_q") ? true : flag(table, "use_q");
  if (is_attention && !(orders_inputs && orders_outputs))
    table.fail(
        orders_inputs ? "use_q" : "use_p",
        "is false; TQCompressor permutes query, key and value on both sides whatever the file says: expected true");
  return fmt::format(
             "decompose = {{ kind = \"kronecker\", left_rows = {}, left_cols = {}, right_rows = {}, right_cols = {}, "
             "num_terms = {} }}\n",
             n1, m1, n2, m2, terms) +
         permutation(table, {"use_p", orders_inputs, m2}, {"use_q", orders_outputs, n2},
                     is_attention ? ", step = \"random\"" : "");
}

/// The layers of the file in its sequence.
std::vector<Entry> entries_of(const StrictTable& root, const Value& whole) {
  const auto layers = root.table("layers");
  std::vector<Entry> entries;
  for (const auto& [key, value] : *whole.as<Value::Table>()->at("layers").as<Value::Table>()) {
    const auto place = place_of(key, value.position);
    const auto table = layers.table(key);
    const Index step = table.integer("q_num", {.least = 0, .most = 1000});
    const bool is_embedding = place.kind == Place::Kind::embedding;
    entries.push_back({place, step, value.position.line,
                       is_embedding ? embedding_settings(table) : matrix_settings(table, place.kind)});
  }
  root.finish();
  std::ranges::sort(entries, {}, &Entry::line);
  return entries;
}

/// A factor of the embedding is made by the step before, or by the same one.
void expect_factors_made(const StrictTable& layers, const std::vector<Entry>& entries) {
  std::map<Index, Index> steps;  // of the embedding's levels
  for (const auto& entry : entries) {
    if (entry.place.kind == Place::Kind::embedding) steps[entry.place.depth] = entry.step;
  }
  for (const auto& [depth, step] : steps) {
    if (depth == 0 || (steps.contains(depth - 1) && steps.at(depth - 1) <= step)) continue;
    std::string key = "transformer.wte", parent = key;
    for (Index i = 0; i < depth; ++i) parent = key, key += ".embedding";
    layers.fail(key, fmt::format("is a factor of {}, which no step up to {} decomposes", parent, step));
  }
}

/// Layers with the same settings in all blocks that have them: a part of a stage.
struct Part {
  std::string before, after, settings;
  std::vector<std::string> blocks;

  std::string pattern() const {
    if (blocks.empty()) return before;
    if (blocks.size() == 1) return before + blocks[0] + after;
    return fmt::format("{}{{{}}}{}", before, fmt::join(blocks, ","), after);
  }
};

std::vector<Part> parts_of(const std::vector<Entry>& entries) {
  std::vector<Part> parts;
  for (const auto& entry : entries) {
    const auto& place = entry.place;
    auto part = std::ranges::find_if(parts, [&](const Part& p) {
      return p.before == place.before && p.after == place.after && p.settings == entry.settings;
    });
    if (part == parts.end()) part = parts.insert(part, {place.before, place.after, entry.settings, {}});
    if (!place.block.empty()) part->blocks.push_back(place.block);
  }
  return parts;
}

std::string stage_text(Index step, const std::vector<Part>& parts) {
  std::string names;
  for (const auto& part : parts) {
    const std::string name = part.blocks.empty() ? part.before : part.before + "*" + part.after;
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  std::string text = fmt::format("\n[[stage]]\nname = \"step {}: {}\"\n", step, names);
  for (const auto& part : parts)
    text += fmt::format("{}layers = [\"{}\"]\n{}", parts.size() > 1 ? "[[stage.part]]\n" : "", part.pattern(),
                        part.settings);
  return text;
}

std::string heading(const std::string& file, const std::string& model, bool has_embedding) {
  const std::string head = has_embedding ? "head = \"untied\"\n" : "";
  const auto name = std::filesystem::path(file).stem().string();
  return fmt::format(R"(# The experiment of TQCompressor's configuration file {}, by `kronlab import tq`.
#
# The file says which layers are decomposed, into which shapes, in which steps, and what is permuted. It leaves open:
#   model     any Hugging Face folder of GPT-2's architecture with these shapes: `kronlab check` proves them from its config.json.
#   head      the released model keeps a dense head beside the compressed embedding; the file does not say so.
#   search    not published. `alternating` is reconstructed from the names of its settings, and n_iter is taken for its
#             rounds; `portfolio`, the best search here, may stand in its place.
#   training  a distillation after each step; losses, rates and lengths are not published. Give [data] distillation and a
#             [stage.distill] to each stage, as experiments/tqcompressor does.
#   texts     give [[evaluate]] to measure perplexities; without, the run decomposes and reports sizes and errors.
[experiment]
name = {}
paper = "arXiv:2401.16367"

[model]
path = {}
{})",
                     config::to_text(Value(std::filesystem::path(file).filename().string())),
                     config::to_text(Value(name.empty() ? "tq" : name)), config::to_text(Value(model)), head);
}

}  // namespace

std::string experiment_of_tq(std::string_view text, const std::string& file, const std::string& model) {
  const Value whole = config::parse_yaml(text, file);
  const StrictTable root(whole);
  const auto entries = entries_of(root, whole);
  expect_factors_made(root.table("layers"), entries);
  std::map<std::pair<Index, Index>, std::vector<Entry>> stages;  // a layer and a factor of it never share one
  for (const auto& entry : entries) stages[{entry.step, entry.place.depth}].push_back(entry);
  std::string toml = heading(
      file, model, std::ranges::any_of(entries, [](const Entry& e) { return e.place.kind == Place::Kind::embedding; }));
  for (const auto& [key, of_stage] : stages) toml += stage_text(key.first, parts_of(of_stage));
  return toml;
}

}  // namespace kronlab::experiments
